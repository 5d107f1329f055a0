#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gradwise/autograd/tensor_facts.h"
#include "gradwise/core/model.h"

namespace gradwise {

/// Where the first inf or NaN of a step came from.
struct NonfiniteOrigin {
  std::string phase;          ///< "input", "target", "parameter", "buffer", "forward" or "backward"
  std::string op;             ///< as "aten::log"; in backward as "SqrtBackward0 (aten::div)"; else the tensor's name
  std::string layer;          ///< module of the parameters used last; "" where there is none
  std::int64_t position = 0;  ///< operators before it
  std::vector<TensorFacts> inputs = {};
  TensorFacts output = {};
  std::string message = {};  ///< one readable line
  std::string advice = {};
};

/// Replays forward and backward of one step and names the first operator that made inf or NaN out of finite inputs:
/// every operator is looked at as it runs, by ATen's own observers, so any model will do. Nothing is paid before it is
/// called; the replay costs several times a step.
///
///   if (const auto origin = find_nonfinite(model, loss_function, input, target)) std::puts(origin->message.c_str());
///
/// nullopt where loss and all gradients are finite: an inf that a mask puts in and a softmax takes out is none. Where
/// they are not, it is the first operator that made NaN without having been given one; was it given an inf, then the
/// operator that made that, unless it put it in on purpose (fills, masks, `where`). It runs in the mode that the model
/// is in; gradients, buffers, mode and random state stay as they were.
[[nodiscard]] std::optional<NonfiniteOrigin> find_nonfinite(const Model& model, const LossFunction& loss_function,
                                                            const at::Tensor& input_data,
                                                            const at::Tensor& target_data);

}  // namespace gradwise
