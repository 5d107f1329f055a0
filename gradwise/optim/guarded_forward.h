#pragma once

#include "gradwise/core/batch.h"
#include "gradwise/core/model.h"

namespace gradwise {

/// The model's output for a batch. What LibTorch complains of becomes an Error that shows the input's shape and type.
[[nodiscard]] at::Tensor guarded_forward(const Model& model, const Batch& batch);

/// The loss of an output, checked to be a scalar. An output that does not fit the loss becomes an Error that shows
/// both shapes.
[[nodiscard]] at::Tensor guarded_loss(const LossFunction& loss_function, const at::Tensor& output,
                                      const at::Tensor& target);

}  // namespace gradwise
