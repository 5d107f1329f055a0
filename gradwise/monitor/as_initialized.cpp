#include "gradwise/monitor/as_initialized.h"

#include <cmath>

namespace gradwise {
namespace {

constexpr double kErrors = 4;
constexpr double kNormalKurtosis = 3;
constexpr double kUniformKurtosis = 1.8;

}  // namespace

bool looks_as_initialized(const at::Tensor& tensor) {
  if (!tensor.is_floating_point() || tensor.layout() != at::kStrided || tensor.numel() < 32) {
    return false;
  }
  const at::Tensor x = tensor.detach().to(at::kCPU, at::kDouble).flatten();
  const auto n = static_cast<double>(x.numel());
  const double mean = x.mean().item<double>();
  const at::Tensor centred = x.sub(mean);
  const double variance = centred.square().mean().item<double>();
  if (!(variance > 0)) {
    return false;
  }
  const double skewness = centred.pow(3).mean().item<double>() / std::pow(variance, 1.5);
  const double kurtosis = centred.pow(4).mean().item<double>() / (variance * variance);
  if (std::abs(mean) > kErrors * std::sqrt(variance / n) || std::abs(skewness) > kErrors * std::sqrt(6 / n)) {
    return false;
  }
  const double error = std::sqrt(24 / n);  // of a normal sample's kurtosis; a uniform one's is an eighth of it
  return std::abs(kurtosis - kNormalKurtosis) < kErrors * error ||
         std::abs(kurtosis - kUniformKurtosis) < kErrors * error / 8;
}

}  // namespace gradwise
