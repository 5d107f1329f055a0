#pragma once

#include <vector>

#include "gradwise/core/model.h"

namespace gradwise {

/// One forward pass of a model with its graph, as curvature's operators start from. Buffers and random state are as
/// before when it is made.
struct RecordedModel {
  std::vector<at::Tensor> parameters;  ///< the trainable ones
  at::Tensor output;

  /// `place` is the operator's, for errors. Error: no parameter asks for a gradient.
  RecordedModel(const char* place, const Model& model, const at::Tensor& input_data, const at::Tensor& target_data);

  /// Gradients by the parameters as one vector; undefined ones, of what the output does not depend on, count as 0.
  [[nodiscard]] at::Tensor flattened(const std::vector<at::Tensor>& gradients) const;
};

/// The loss of an output. Errors: not a scalar, no graph.
[[nodiscard]] at::Tensor checked_loss(const char* place, const LossFunction& loss_function, const at::Tensor& output,
                                      const at::Tensor& target_data);

}  // namespace gradwise
