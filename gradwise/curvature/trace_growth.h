#pragma once

#include <algorithm>

#include "gradwise/core/fields.h"
#include "gradwise/curvature/trace.h"

namespace gradwise {

/// How many random vectors come first: all `most` where no tolerance is asked.
[[nodiscard]] inline std::int64_t first_vectors(double tolerance, std::int64_t most) {
  constexpr std::int64_t kFirst = 10;
  return tolerance > 0 ? std::min(kFirst, most) : most;
}

/// Takes ever more random vectors, doubling their number, up to `most`: `estimate(more)` adds `more` of them and gives
/// the estimate from all. Ends where that is within the tolerance or exact.
template <class GrowingEstimate>
[[nodiscard]] auto grow_until(double tolerance, std::int64_t most, const GrowingEstimate& estimate) {
  std::int64_t have = first_vectors(tolerance, most);
  auto found = estimate(have);
  while (have < most && !within(found, tolerance)) {
    const std::int64_t more = std::min(have, most - have);
    found = estimate(more);
    have += more;
  }
  found.converged = tolerance == 0 || within(found, tolerance);
  return found;
}

/// Checks options whose estimator needs `least` products.
inline void check_options(const char* place, const TraceOptions& options, std::int64_t least) {
  GRADWISE_CHECK(options.products >= least, place, "products is ", options.products, ", allowed: >= ", least);
  check_fields(place, options);
}

}  // namespace gradwise
