#include "gradwise/autograd/node_names.h"

#include <torch/csrc/autograd/function.h>

#include <cctype>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace gradwise {
namespace {

// "LogSoftmax" of "LogSoftmaxBackward0".
std::string stem_of(const torch::autograd::Node& node) {
  std::string name = node.name();
  const std::size_t colon = name.rfind(':');
  if (colon != std::string::npos) {
    name.erase(0, colon + 1);
  }
  const std::size_t backward = name.find("Backward");
  return backward == std::string::npos ? name : name.substr(0, backward);
}

std::string snake_case(std::string_view camel) {
  std::string snake;
  for (std::size_t i = 0; i < camel.size(); ++i) {
    const auto letter = static_cast<unsigned char>(camel[i]);
    if (std::isupper(letter) != 0 && i > 0) {
      snake += '_';
    }
    snake += static_cast<char>(std::tolower(letter));
  }
  return snake;
}

const std::unordered_set<std::string> kViews = {"T",         "View",   "UnsafeView", "ReshapeAlias",  "Transpose",
                                                "Permute",   "Expand", "Squeeze",    "Unsqueeze",     "Select",
                                                "Slice",     "Alias",  "Clone",      "Detach",        "ToCopy",
                                                "AsStrided", "Split",  "Flatten",    "MkldnnReshape", "Unfold"};
const std::unordered_set<std::string> kScalings = {"Mean", "Sum", "Mul", "Div", "Neg", "Add", "Sub"};

}  // namespace

std::string operator_name(const torch::autograd::Node& node) {
  static const std::unordered_map<std::string, std::string> kShort = {
      {"NllLoss", "nll"}, {"NllLoss2D", "nll"},          {"MseLoss", "mse"},     {"HuberLoss", "huber"},
      {"L1Loss", "mae"},  {"SmoothL1Loss", "smooth_l1"}, {"AccumulateGrad", ""}, {"SoftMarginLoss", "soft_margin"}};
  const std::string stem = stem_of(node);
  if (kViews.contains(stem) || kScalings.contains(stem)) {
    return {};
  }
  const auto known = kShort.find(stem);
  return known == kShort.end() ? snake_case(stem) : known->second;
}

bool is_view(const torch::autograd::Node& node) { return kViews.contains(stem_of(node)); }

bool has_channel_units(const torch::autograd::Node& node) {
  const std::string stem = stem_of(node);
  return stem.find("Convolution") != std::string::npos || stem.find("BatchNorm") != std::string::npos ||
         stem.find("GroupNorm") != std::string::npos;
}

bool hides_a_graph(const torch::autograd::Node& node) { return stem_of(node).starts_with("DifferentiableGraph"); }

}  // namespace gradwise
