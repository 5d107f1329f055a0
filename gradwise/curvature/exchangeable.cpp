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
  const at::Tensor pairs = change.mul(change.t());
  const double covariance = pairs.sum().item<double>() / (count * (count - 1));
  const double variance = samples.var().item<double>() / count + std::max(covariance, 0.0);
  found.standard_error = std::sqrt(variance);
  const at::Tensor shares = samples.sub(samples.mean()).square().add(pairs.sum(1)).div(count * (count - 1));
  const double spread = count * shares.var().item<double>();
  const double degrees = spread > 0 ? std::min(2 * variance * variance / spread, count - 1) : count - 1;
  found.degrees = std::max<std::int64_t>(1, static_cast<std::int64_t>(degrees));
  return found;
}

at::Tensor pair_determinant(const at::Tensor& cosines) {
  at::Tensor determinant = cosines.square().neg().add(1).clamp_min(std::numeric_limits<double>::epsilon());
  determinant.diagonal().fill_(1);
  return determinant;
}

}  // namespace gradwise
