#pragma once

#include <cstdint>

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// A sampled figure and the standard error of it.
struct Estimate {
  double value = 0;
  double standard_error = 0;
  std::int64_t samples = 0;
};

/// The trace, from products with random signs (Hutchinson, "A stochastic estimator of the trace of the influence
/// matrix", 1990): unbiased; the standard error is that of the mean over the samples. `vectors` >= 2.
[[nodiscard]] Estimate hutchinson_trace(const LinearOperator& matrix, std::int64_t vectors, std::int64_t seed = 0);

}  // namespace gradwise
