#pragma once

#include "gradwise/curvature/data_operator.h"

namespace gradwise {

/// The generalised Gauss-Newton matrix of a loss, Jᵀ H J, on one batch or over a data set: J the derivative of the
/// model's output by its parameters, H the Hessian of the loss by the output (Schraudolph, "Fast Curvature
/// Matrix-Vector Products for Second-Order Gradient Descent", 2002). Positive semi-definite where the loss is convex in
/// the output. For losses that are a logarithm of a likelihood it is the Fisher matrix (Martens, "New Insights and
/// Perspectives on the Natural Gradient Method", 2020, section 9.2); Fisher says which.
///
///   const GaussNewton matrix(model, make_loss("cross_entropy"), input, target);
///   const Estimate trace = xnystrace(matrix, {.products = 40});
///
/// One forward pass and one backward pass with its graph when it is made; a product is two backward passes through the
/// model and one through the loss. Data sets, what stays as it was, and the errors: as DataOperator says.
class GaussNewton : public DataOperator {
 public:
  GaussNewton(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
              const at::Tensor& target_data);
  GaussNewton(const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
              CurvatureOptions options = {});
};

}  // namespace gradwise
