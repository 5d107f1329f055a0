#include "gradwise/curvature/exchangeable.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gradwise {

Estimate exchangeable_mean(const at::Tensor& samples, const at::Tensor& without, std::int64_t products) {
  const std::int64_t k = samples.numel();
  Estimate found{samples.mean().item<double>(), 0, k, products};
  if (k == 1) {
    return found;  // a single sample spans a matrix of one row: it is exact
  }
  const auto count = static_cast<double>(k);
  at::Tensor change = samples.unsqueeze(0).sub(without);
  change.diagonal().zero_();
  const double covariance = change.mul(change.t()).sum().item<double>() / (count * (count - 1));
  found.standard_error = std::sqrt(samples.var().item<double>() / count + std::max(covariance, 0.0));
  return found;
}

at::Tensor pair_determinant(const at::Tensor& cosines) {
  at::Tensor determinant = cosines.square().neg().add(1).clamp_min(std::numeric_limits<double>::epsilon());
  determinant.diagonal().fill_(1);
  return determinant;
}

}  // namespace gradwise
