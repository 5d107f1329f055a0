#include "gradwise/autograd/find_nonfinite.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "gradwise/autograd/operator_log.h"
#include "gradwise/core/buffer_state.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

// Their results hold whatever the memory held.
constexpr std::array<std::string_view, 6> kUnwritten = {"aten::empty",         "aten::empty_like",
                                                        "aten::empty_strided", "aten::new_empty",
                                                        "aten::resize_",       "aten::new_empty_strided"};
// They put an infinity where they are told to.
constexpr std::array<std::string_view, 12> kOnPurpose = {
    "aten::fill_", "aten::full",  "aten::full_like", "aten::new_full",      "aten::masked_fill", "aten::masked_fill_",
    "aten::where", "aten::zero_", "aten::copy_",     "aten::scalar_tensor", "aten::lift_fresh",  "aten::detach"};

template <std::size_t N>
bool among(const std::array<std::string_view, N>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::optional<NonfiniteOrigin> given(const char* phase, const std::string& name, const at::Tensor& tensor) {
  if (!tensor.defined()) {
    return std::nullopt;
  }
  TensorFacts facts = facts_of(tensor);
  if (facts.finite()) {
    return std::nullopt;
  }
  NonfiniteOrigin origin{.phase = phase, .op = name, .layer = {}, .output = std::move(facts)};
  origin.message = std::string("the ") + phase + (name == phase ? "" : " \"" + name + "\"") +
                   " itself is not finite: " + text_of(origin.output);
  const bool data = origin.phase == "input" || origin.phase == "target";
  origin.advice = data ? "clean the data: drop or fill the samples that hold inf or NaN"
                       : "go back to a checkpoint from before it, at a lower learning rate";
  return origin;
}

std::optional<NonfiniteOrigin> given_nonfinite(const Model& model, const at::Tensor& input, const at::Tensor& target) {
  if (auto origin = given("input", "input", input)) {
    return origin;
  }
  if (auto origin = given("target", "target", target)) {
    return origin;
  }
  for (const auto& [phase, group] : {std::pair{"parameter", &model.parameters}, std::pair{"buffer", &model.buffers}}) {
    for (std::size_t i = 0; i < group->size(); ++i) {
      if (auto origin = given(phase, group->names[i], group->tensors[i])) {
        return origin;
      }
    }
  }
  return std::nullopt;
}

// The operator to name; null where none that was seen can be blamed.
const LoggedOperator* culprit_among(const std::vector<LoggedOperator>& all) {
  const auto makes_nan = [](const LoggedOperator& op) {
    return op.output.nans > 0 && !op.given_nan() && !among(kUnwritten, op.name);
  };
  const auto makes_inf = [](const LoggedOperator& op) {
    return op.output.infs > 0 && !op.given_inf() && !op.given_nan() && !among(kUnwritten, op.name) &&
           !among(kOnPurpose, op.name);
  };
  const auto nan = std::find_if(all.begin(), all.end(), makes_nan);
  if (nan != all.end() && !nan->given_inf()) {
    return &*nan;
  }
  // Made of an infinity, or nothing but infinities: the operator that made the last one before it, or the first.
  if (nan != all.end()) {
    const auto before = std::find_if(std::make_reverse_iterator(nan), all.rend(), makes_inf);
    return before == all.rend() ? &*nan : &*before;
  }
  const auto inf = std::find_if(all.begin(), all.end(), makes_inf);
  return inf == all.end() ? nullptr : &*inf;
}

std::string advice_for(const std::string& op, const std::string& phase) {
  const auto holds = [&op](const char* part) { return op.find(part) != std::string::npos; };
  if (phase == "backward") {
    return "its slope has no finite value here: keep its input away from that point (add a small number before sqrt, "
           "norm or division)";
  }
  if (holds("log") && !holds("softmax")) {
    return "keep its input above 0 (clamp_min), or use a form that works on logarithms (log_softmax, logsumexp)";
  }
  if (holds("exp") || holds("pow")) {
    return "its input is too large for the type: normalise before it, or subtract the maximum";
  }
  if (holds("div") || holds("reciprocal") || holds("rsqrt")) {
    return "its divisor is 0 or too small: add a small number to it";
  }
  if (holds("sqrt")) {
    return "keep its input at 0 or above (clamp_min)";
  }
  return "look at the ranges of its inputs: lower the learning rate or normalise before it";
}

NonfiniteOrigin origin_of(const LoggedOperator& op) {
  NonfiniteOrigin origin;
  origin.phase = op.node.empty() ? "forward" : "backward";
  origin.op = op.node.empty() ? op.name : op.node + " (" + op.name + ")";
  origin.layer = op.layer;
  origin.position = op.position;
  origin.inputs = op.inputs;
  origin.output = op.output;
  origin.message = origin.op + " made " + (op.output.nans > 0 ? "NaN" : "inf") + " in " + origin.phase +
                   (op.layer.empty() ? "" : ", at or after layer " + op.layer) + ": ";
  for (std::size_t i = 0; i < op.inputs.size(); ++i) {
    origin.message += (i > 0 ? "; " : "inputs ") + text_of(op.inputs[i]);
  }
  origin.message += (op.inputs.empty() ? "output " : " -> ") + text_of(op.output);
  origin.advice = advice_for(op.name, origin.phase);
  return origin;
}

bool all_finite(const at::Tensor& loss, const std::vector<at::Tensor>& gradients) {
  return facts_of(loss).finite() && std::all_of(gradients.begin(), gradients.end(), [](const at::Tensor& gradient) {
           return !gradient.defined() || facts_of(gradient).finite();
         });
}

}  // namespace

std::optional<NonfiniteOrigin> find_nonfinite(const Model& model, const LossFunction& loss_function,
                                              const at::Tensor& input_data, const at::Tensor& target_data) {
  const NamedParameters trainable = model.parameters.trainable();
  GRADWISE_CHECK(trainable.size() > 0, "find_nonfinite", "none of the ", model.parameters.size(),
                 " parameters asks for a gradient");
  if (auto origin = given_nonfinite(model, input_data, target_data)) {
    return origin;
  }
  const RandomStateGuard random(input_data.device());
  const BufferStateGuard buffers(model.buffers);
  const at::AutoGradMode with_gradients(true);
  at::Tensor loss;
  std::vector<at::Tensor> gradients;
  std::vector<LoggedOperator> logged;
  {
    const OperatorLog log(trainable);
    loss = loss_function(model.forward({input_data, target_data, {}}), target_data);
    GRADWISE_CHECK(loss.defined() && loss.numel() == 1 && loss.requires_grad(), "find_nonfinite",
                   "the loss is no scalar with a graph");
    gradients = torch::autograd::grad({loss}, trainable.tensors, {}, /*retain_graph=*/false, /*create_graph=*/false,
                                      /*allow_unused=*/true);
    logged = log.operators();
  }
  if (all_finite(loss, gradients)) {
    return std::nullopt;
  }
  if (!facts_of(loss).finite()) {  // what backward made of it is no news
    std::erase_if(logged, [](const LoggedOperator& op) { return !op.node.empty(); });
  }
  const LoggedOperator* culprit = culprit_among(logged);
  if (culprit == nullptr) {
    fail("find_nonfinite", "the loss or a gradient is not finite, and no operator that could be looked at made it so");
  }
  return origin_of(*culprit);
}

}  // namespace gradwise
