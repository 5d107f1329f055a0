#pragma once

#include <vector>

#include "gradwise/core/model.h"

namespace gradwise {

/// One forward pass of a model with its graph, as curvature's operators start from.
struct RecordedModel {
  std::vector<at::Tensor> parameters;  ///< that the operator is of
  at::Tensor output;
};

/// The loss of an output. `place` is the operator's, for errors: not a scalar; no graph: it does not depend on
/// `source`, in words.
[[nodiscard]] at::Tensor checked_loss(const char* place, const LossFunction& loss_function, const at::Tensor& output,
                                      const at::Tensor& target_data, const char* source);

/// Gradients of an output, weighted by a tensor of its shape (undefined: it is a scalar); zeros where it does not
/// depend on an input. The graph is kept. Error: an operator that lacks the derivative.
[[nodiscard]] std::vector<at::Tensor> kept_gradients(const char* place, const at::Tensor& output,
                                                     const std::vector<at::Tensor>& inputs, const at::Tensor& weight,
                                                     bool create_graph);

}  // namespace gradwise
