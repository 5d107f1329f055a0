#pragma once

#include <vector>

#include "gradwise/core/model.h"

namespace gradwise {

/// The gradients of the samples of `input` and `target` (undefined: none), each as a batch of one, by vmap over the
/// gradient of a function of the parameters: (samples, shape of the parameter...) each. `model` has its `forward_with`.
/// Errors of LibTorch: what vmap has no rule for, values read in the model or the loss.
[[nodiscard]] std::vector<at::Tensor> vmapped_gradients(const Model& model, const NamedParameters& parameters,
                                                        const LossFunction& loss_function, const at::Tensor& input,
                                                        const at::Tensor& target);

}  // namespace gradwise
