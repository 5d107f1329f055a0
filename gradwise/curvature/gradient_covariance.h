#pragma once

#include "gradwise/curvature/empirical_fisher.h"

namespace gradwise {

/// The covariance of per-sample gradients over the data set, (1/N) Σ (g_n - ḡ)(g_n - ḡ)ᵀ with ḡ their mean: the
/// empirical Fisher matrix less ḡ ḡᵀ; N times that for a loss that is a sum. Its trace over the squared norm of ḡ is
/// the simple noise scale (McCandlish, Kaplan, Amodei et al., "An Empirical Model of Large-Batch Training", 2018,
/// equation 2.9). All else as EmpiricalFisher.
class GradientCovariance : public EmpiricalFisher {
 public:
  GradientCovariance(const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
                     CurvatureOptions options = {});

  [[nodiscard]] at::Tensor apply_columns(const at::Tensor& columns) const override;
  /// The loss's gradient over the data set (size()), detached.
  [[nodiscard]] const at::Tensor& gradient() const { return data_gradient(); }

 private:
  double weight_ = 1;  // of the outer product of the loss's gradient
};

}  // namespace gradwise
