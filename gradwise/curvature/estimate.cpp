#include "gradwise/curvature/estimate.h"

#include <algorithm>
#include <cmath>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

constexpr std::int64_t kAsGoodAsNormal = 10'000;  // degrees of freedom: the quantile's distance is below 3e-4

// P(|T| <= tan(angle) sqrt(degrees)).
double central_probability(double angle, std::int64_t degrees) {
  const double cosine = std::cos(angle);
  const bool odd = degrees % 2 == 1;
  double term = odd ? cosine : 1;
  double sum = degrees == 1 ? 0 : term;
  for (std::int64_t i = odd ? 3 : 2; i < degrees; i += 2) {
    term *= cosine * cosine * static_cast<double>(i - 1) / static_cast<double>(i);
    sum += term;
  }
  return odd ? 2 / M_PI * (angle + std::sin(angle) * sum) : std::sin(angle) * sum;
}

}  // namespace

double student_quantile(double confidence, std::int64_t degrees) {
  GRADWISE_CHECK(confidence > 0 && confidence < 1, "interval", "confidence is ", confidence,
                 ", allowed: between 0 and 1");
  GRADWISE_CHECK(degrees >= 1, "interval", "degrees of freedom are ", degrees, ", allowed: >= 1");
  const std::int64_t used = std::min(degrees, kAsGoodAsNormal);
  double low = 0;
  double high = M_PI / 2;
  while (high - low > 1e-15 * high) {
    const double middle = 0.5 * (low + high);
    if (middle <= low || middle >= high) {
      break;
    }
    (central_probability(middle, used) < confidence ? low : high) = middle;
  }
  return std::tan(low) * std::sqrt(static_cast<double>(used));
}

Interval interval(const Estimate& estimate, double confidence) {
  const std::int64_t degrees = estimate.degrees > 0 ? estimate.degrees : estimate.samples - 1;
  const double half = student_quantile(confidence, std::max<std::int64_t>(1, degrees)) * estimate.standard_error;
  return {estimate.value - half, estimate.value + half};
}

bool within(const Estimate& estimate, double tolerance) {
  return interval(estimate).high - estimate.value <= tolerance * std::abs(estimate.value);
}

}  // namespace gradwise
