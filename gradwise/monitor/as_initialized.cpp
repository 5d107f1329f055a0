#include "gradwise/monitor/as_initialized.h"

#include <cmath>

namespace gradwise {
namespace {

constexpr double kErrors = 4;
constexpr double kNormalKurtosis = 3;
constexpr double kUniformKurtosis = 1.8;

// Whether a weight's standard deviation is that of one of the usual schemes: variances of 1/3 (PyTorch's own), 1
// (LeCun, Xavier) or 2 (He) over the fan in, the fan out or their mean, and fixed ones. Other shapes are not told by
// it.
bool is_of_usual_scale(const at::Tensor& tensor, double deviation, double kurtosis) {
  if (tensor.dim() < 2) {
    return true;
  }
  const auto n = static_cast<double>(tensor.numel());
  const double error = kErrors * deviation * std::sqrt((kurtosis - 1) / (4 * n));
  const auto near = [&](double usual) { return std::abs(deviation - usual) < error; };
  const double fan_in = n / static_cast<double>(tensor.size(0));
  const double fan_out = n / static_cast<double>(tensor.size(1));
  for (const double fan : {fan_in, fan_out, (fan_in + fan_out) / 2}) {
    for (const double share : {1.0 / 3, 1.0, 2.0}) {
      if (near(std::sqrt(share / fan))) {
        return true;
      }
    }
  }
  return near(0.01) || near(0.02) || near(1);
}

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
  const bool of_usual_shape = std::abs(kurtosis - kNormalKurtosis) < kErrors * error ||
                              std::abs(kurtosis - kUniformKurtosis) < kErrors * error / 8;
  return of_usual_shape && is_of_usual_scale(tensor, std::sqrt(variance), kurtosis);
}

}  // namespace gradwise
