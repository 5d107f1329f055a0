#pragma once

#include <cmath>
#include <limits>

namespace gradwise {

/// The value, for printf and streams: NaN without a sign, which they would write as "-nan".
[[nodiscard]] inline double plain_nan(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

}  // namespace gradwise
