#include "gradwise/monitor/parameter_figures.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace gradwise {

void put_gradient(const kernels::Moments& m, double scale, ParameterReading& reading) {
  const auto count = static_cast<double>(m.count);
  const bool some = m.finite() > 0;
  reading.grad_norm = m.count > 0 ? m.l2() * scale : kNotMeasured;
  reading.grad_mean_abs = m.count > 0 ? m.l1() / count * scale : kNotMeasured;
  reading.grad_max = m.count > 0 ? m.max_abs() * scale : kNotMeasured;
  reading.grad_min_value = some ? m.min * scale : kNotMeasured;
  reading.grad_max_value = some ? m.max * scale : kNotMeasured;
  reading.grad_mean = m.mean() * scale;
  reading.grad_variance = m.variance() * scale * scale;
  reading.grad_zeros = m.count > 0 ? static_cast<double>(m.zeros) / count : kNotMeasured;
  reading.grad_nans = m.nans;
  reading.grad_infs = m.infs;
}

void clear_gradient(ParameterReading& reading) {
  reading.missing = true;
  reading.grad_fresh = false;
  reading.grad_norm = reading.grad_mean_abs = reading.grad_max = reading.grad_min_value = kNotMeasured;
  reading.grad_max_value = reading.grad_mean = reading.grad_variance = reading.grad_zeros = kNotMeasured;
  reading.grad_nans = reading.grad_infs = 0;
}

void put_weights(const kernels::WeightMoments& m, ParameterReading& reading) {
  const auto count = static_cast<double>(std::max<std::int64_t>(m.count, 1));
  const double mean = m.sum / count;
  reading.weight_norm = std::sqrt(m.sum_squares);
  reading.weight_mean = mean;
  reading.weight_variance = std::max(0.0, m.sum_squares / count - mean * mean);
  reading.weight_max = m.max_abs;
  reading.update_norm = std::sqrt(m.update_squares);
  reading.update_ratio = m.squares_before > 0 ? std::sqrt(m.update_squares / m.squares_before) : kNotMeasured;
}

}  // namespace gradwise
