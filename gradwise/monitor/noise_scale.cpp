#include "gradwise/monitor/noise_scale.h"

#include <cmath>
#include <utility>

namespace gradwise {
namespace {

constexpr double kDecay = 0.95;
constexpr std::int64_t kLeastSteps = 20;
constexpr double kLeastAgreement = 0.01;

}  // namespace

double NoiseScale::add(std::span<const ParameterReading> parameters, std::int64_t samples) {
  const bool after_gap = std::exchange(passed_over_, false);
  norms_.resize(parameters.size(), kNotMeasured);
  double dot = 0;
  double square = 0;
  bool compared = false;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const double norm = parameters[i].grad_norm;
    const double product = parameters[i].grad_cosine * norm * norms_[i];
    if (std::isfinite(product)) {
      dot += product;
      square += 0.5 * (norm * norm + norms_[i] * norms_[i]);
      compared = true;
    }
    norms_[i] = norm;
  }
  if (!compared || samples <= 0) {
    return after_gap ? estimate() : kNotMeasured;
  }
  dot_ = kDecay * dot_ + (1 - kDecay) * dot;
  square_ = kDecay * square_ + (1 - kDecay) * square;
  samples_ = kDecay * samples_ + (1 - kDecay) * static_cast<double>(samples);
  weight_ = kDecay * weight_ + (1 - kDecay);
  ++steps_;
  return estimate();
}

double NoiseScale::pass_over() {
  norms_.clear();
  passed_over_ = true;
  return estimate();
}

double NoiseScale::estimate() const {
  const bool told = steps_ >= kLeastSteps && dot_ > kLeastAgreement * square_;
  return told ? samples_ / weight_ * (square_ - dot_) / dot_ : kNotMeasured;
}

}  // namespace gradwise
