#pragma once

#include <cstdint>

namespace gradwise {

/// A sampled figure and the standard error of it.
struct Estimate {
  double value = 0;
  double standard_error = 0;
  std::int64_t samples = 0;   ///< that the standard error comes from
  std::int64_t products = 0;  ///< with the matrix
  bool converged = true;      ///< the asked tolerance was reached; true where none was asked
  std::int64_t degrees = 0;   ///< of freedom of the standard error; 0: samples - 1
};

struct Interval {
  double low = 0;
  double high = 0;
};

/// The interval around an estimate that holds the true figure with the probability `confidence`: the standard error
/// times Student's quantile for its degrees of freedom. Error: `confidence` outside ]0, 1[.
[[nodiscard]] Interval interval(const Estimate& estimate, double confidence = 0.95);

/// t with P(|T| <= t) = `confidence` for Student's T, from the closed form of that probability (Abramowitz and Stegun,
/// 26.7.3 and 26.7.4). Errors: `confidence` outside ]0, 1[, `degrees` below 1.
[[nodiscard]] double student_quantile(double confidence, std::int64_t degrees);

/// Whether half of the 95 % interval is no wider than `tolerance` times the value's magnitude.
[[nodiscard]] bool within(const Estimate& estimate, double tolerance);

}  // namespace gradwise
