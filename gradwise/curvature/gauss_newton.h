#pragma once

#include "gradwise/core/model.h"
#include "gradwise/curvature/linear_operator.h"
#include "gradwise/curvature/recorded_model.h"

namespace gradwise {

/// The generalised Gauss-Newton matrix of a loss on one batch, Jᵀ H J: J the derivative of the model's output by its
/// trainable parameters, H the Hessian of the loss by the output (Schraudolph, "Fast Curvature Matrix-Vector Products
/// for Second-Order Gradient Descent", 2002). Positive semi-definite where the loss is convex in the output. For
/// cross-entropy it is the Fisher matrix, and so for the mean squared error but for a factor (Martens, "New Insights
/// and Perspectives on the Natural Gradient Method", 2020, section 9.2).
///
///   const GaussNewton matrix(model, make_loss("cross_entropy"), input, target);
///   const Estimate trace = xnystrace(matrix, {.products = 40});
///
/// One forward pass and one backward pass with its graph when it is made; a product is two backward passes through the
/// model and one through the loss. What stays as it was, and the errors: as for Hessian.
class GaussNewton : public LinearOperator {
 public:
  GaussNewton(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
              const at::Tensor& target_data);

  [[nodiscard]] std::int64_t size() const override { return transposed_.numel(); }
  [[nodiscard]] at::TensorOptions options() const override { return transposed_.options(); }
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override;

 private:
  RecordedModel model_;
  at::Tensor cotangent_;      // zeros like the output
  at::Tensor transposed_;     // Jᵀ times the cotangent, with its graph: its derivative by the cotangent is J
  at::Tensor output_;         // a leaf of the loss alone
  at::Tensor loss_gradient_;  // by the output, with its graph
};

}  // namespace gradwise
