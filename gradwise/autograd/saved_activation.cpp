#include "gradwise/autograd/saved_activation.h"

#include <c10/util/Exception.h>
#include <torch/csrc/autograd/generated/Functions.h>

#include <typeindex>
#include <unordered_map>

namespace gradwise {
namespace {

namespace generated = torch::autograd::generated;
using torch::autograd::Node;
using Read = SavedActivation (*)(Node&);

template <class Backward>
SavedActivation result_of(Node& node, const char* op) {
  auto& backward = static_cast<Backward&>(node);
  return {op, backward.result_.unpack(backward.getptr())};
}

template <class Backward>
SavedActivation input_of(Node& node, const char* op) {
  return {op, static_cast<Backward&>(node).self_.unpack()};
}

SavedActivation hardtanh_of(Node& node) {
  auto& backward = static_cast<generated::HardtanhBackward0&>(node);
  return {"hardtanh", backward.self_.unpack(), backward.min_val.to<double>(), backward.max_val.to<double>()};
}

const std::unordered_map<std::type_index, Read>& readers() {
  static const std::unordered_map<std::type_index, Read> kReaders = {
      {typeid(generated::ReluBackward0), [](Node& n) { return result_of<generated::ReluBackward0>(n, "relu"); }},
      {typeid(generated::SigmoidBackward0),
       [](Node& n) { return result_of<generated::SigmoidBackward0>(n, "sigmoid"); }},
      {typeid(generated::TanhBackward0), [](Node& n) { return result_of<generated::TanhBackward0>(n, "tanh"); }},
      {typeid(generated::SoftmaxBackward0),
       [](Node& n) { return result_of<generated::SoftmaxBackward0>(n, "softmax"); }},
      {typeid(generated::GeluBackward0), [](Node& n) { return input_of<generated::GeluBackward0>(n, "gelu"); }},
      {typeid(generated::SiluBackward0), [](Node& n) { return input_of<generated::SiluBackward0>(n, "silu"); }},
      {typeid(generated::EluBackward0), [](Node& n) { return input_of<generated::EluBackward0>(n, "elu"); }},
      {typeid(generated::LeakyReluBackward0),
       [](Node& n) { return input_of<generated::LeakyReluBackward0>(n, "leaky_relu"); }},
      {typeid(generated::HardtanhBackward0), hardtanh_of},
  };
  return kReaders;
}

template <class Backward>
SavedBatchNorm batch_norm_of(Node& node) {
  auto& backward = static_cast<Backward&>(node);
  return {backward.training, backward.running_mean_.unpack(), backward.running_var_.unpack(),
          backward.result1_.unpack(backward.getptr()), backward.result2_.unpack(backward.getptr())};
}

}  // namespace

// A tensor that was written over since is refused by its version; one that was freed by the words that follow.
bool was_freed(const c10::Error& error) {
  return std::string(error.what_without_backtrace()).find("backward through the graph a second time") !=
         std::string::npos;
}

bool is_activation(const Node& node) { return readers().contains(std::type_index(typeid(node))); }

std::optional<SavedActivation> saved_activation(Node& node) {
  try {
    return readers().at(std::type_index(typeid(node)))(node);
  } catch (const c10::Error& error) {
    if (was_freed(error)) {
      throw;
    }
    return std::nullopt;
  }
}

std::optional<SavedBatchNorm> saved_batch_norm(Node& node) {
  try {
    if (typeid(node) == typeid(generated::NativeBatchNormBackward0)) {
      return batch_norm_of<generated::NativeBatchNormBackward0>(node);
    }
    if (typeid(node) == typeid(generated::CudnnBatchNormBackward0)) {
      return batch_norm_of<generated::CudnnBatchNormBackward0>(node);
    }
  } catch (const c10::Error& error) {
    if (was_freed(error)) {
      throw;
    }
  }
  return std::nullopt;
}

}  // namespace gradwise
