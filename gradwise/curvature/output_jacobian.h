#pragma once

#include "gradwise/curvature/recorded_model.h"

namespace gradwise {

/// The derivative J of a model's output by its parameters, known by its products. Jᵀ is a backward pass; it is linear
/// in what is pulled back, so that its own derivative, a second backward pass, is J. Graphs are kept.
///
/// Errors of `place`: an output that depends on no parameter; an operator without a second derivative; a function of
/// the user's own whose backward loses the graph of what arrives, or is not linear in it.
class OutputJacobian {
 public:
  OutputJacobian(const char* place, const RecordedModel& model);

  /// J times a vector over the parameters, in the output's shape.
  [[nodiscard]] at::Tensor times(const at::Tensor& vector) const;
  /// Jᵀ times a tensor of the output's shape, as a vector.
  [[nodiscard]] at::Tensor transposed_times(const at::Tensor& weights) const;

 private:
  const char* place_;
  RecordedModel model_;
  at::Tensor cotangent_;   // generic_weights of the output
  at::Tensor transposed_;  // Jᵀ times the cotangent, with its graph
};

}  // namespace gradwise
