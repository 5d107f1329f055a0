#pragma once

#include "gradwise/core/model.h"
#include "gradwise/curvature/linear_operator.h"
#include "gradwise/curvature/recorded_model.h"

namespace gradwise {

/// The Hessian of a loss on one batch with respect to the model's trainable parameters, flattened in their order. One
/// forward pass and one backward pass with its graph when it is made; each product is a backward pass through that
/// gradient (Pearlmutter, "Fast Exact Multiplication by the Hessian", 1994). Gradients, buffers and random state stay
/// as they were; the graph lives as long as the object, and dropout masks are those of its forward pass.
///
/// Errors: no trainable parameter, a loss that is not a scalar or has no graph; when a product is taken, an operator
/// without a second derivative.
class Hessian : public LinearOperator {
 public:
  Hessian(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
          const at::Tensor& target_data);

  [[nodiscard]] std::int64_t size() const override { return gradient_.numel(); }
  [[nodiscard]] at::TensorOptions options() const override { return gradient_.options(); }
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override;

  /// The gradient (size()), detached.
  [[nodiscard]] const at::Tensor& gradient() const { return gradient_; }

 private:
  RecordedModel model_;
  at::Tensor graph_gradient_;  // the gradient with the graph that made it
  at::Tensor gradient_;
};

}  // namespace gradwise
