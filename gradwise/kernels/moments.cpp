#include "gradwise/kernels/moments.h"

#include <algorithm>
#include <cmath>

#include "gradwise/kernels/for_each_element.h"

namespace gradwise::kernels {
double Moments::l2() const { return std::sqrt(sum_squares); }

double Moments::max_abs() const { return finite() > 0 ? std::max(std::abs(min), std::abs(max)) : 0.0; }

double Moments::mean() const {
  return finite() > 0 ? sum / static_cast<double>(finite()) : std::numeric_limits<double>::quiet_NaN();
}

double Moments::variance() const {
  if (finite() == 0) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return std::max(0.0, sum_squares / static_cast<double>(finite()) - mean() * mean());
}

void Moments::merge(const Moments& other) {
  count += other.count;
  zeros += other.zeros;
  nans += other.nans;
  infs += other.infs;
  sum += other.sum;
  sum_abs += other.sum_abs;
  sum_squares += other.sum_squares;
  min = std::min(min, other.min);
  max = std::max(max, other.max);
}

Moments read_moments_portable(const void* data, std::size_t count, Element type) {
  Moments m;
  m.count = static_cast<std::int64_t>(count);
  for_each_element(data, count, type, [&m](double x) {
    if (std::isnan(x)) {
      ++m.nans;
    } else if (std::isinf(x)) {
      ++m.infs;
    } else {
      m.zeros += x == 0 ? 1 : 0;
      m.sum += x;
      m.sum_abs += std::abs(x);
      m.sum_squares += x * x;
      m.min = std::min(m.min, x);
      m.max = std::max(m.max, x);
    }
  });
  return m;
}

}  // namespace gradwise::kernels
