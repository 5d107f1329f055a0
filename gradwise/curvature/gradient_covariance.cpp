#include "gradwise/curvature/gradient_covariance.h"

#include <utility>

namespace gradwise {

GradientCovariance::GradientCovariance(const Model& model, const LossFunction& loss_function,
                                       std::vector<Batch> batches, CurvatureOptions options)
    : EmpiricalFisher("gradient_covariance", model, loss_function, std::move(batches), options),
      weight_(options.reduction == "sum" ? 1 / static_cast<double>(samples()) : 1) {}

at::Tensor GradientCovariance::apply_columns(const at::Tensor& columns) const {
  const at::Tensor moment = EmpiricalFisher::apply_columns(columns);
  return moment.sub(gradient().outer(gradient().matmul(columns)), weight_);
}

}  // namespace gradwise
