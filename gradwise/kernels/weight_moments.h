#pragma once

#include <cstddef>
#include <cstdint>

#include "gradwise/kernels/moments.h"

namespace gradwise::kernels {

/// Weights after an update, and the update.
struct WeightMoments {
  std::int64_t count = 0;
  double sum = 0;
  double sum_squares = 0;
  double max_abs = 0;
  double update_squares = 0;  ///< sum of (new - old)^2
  double squares_before = 0;  ///< sum of old^2

  void merge(const WeightMoments& other);
};

/// One pass over the new weights and the old ones, which become the new ones. Both have `count` elements of one type.
/// float32 is summed in float32 within blocks of 1,024 elements, everything else in double. Non-finite elements make
/// the sums so. Thread-safe.
[[nodiscard]] WeightMoments read_weights(const void* weights, void* before, std::size_t count, Element type);

/// Its reference.
[[nodiscard]] WeightMoments read_weights_portable(const void* weights, void* before, std::size_t count, Element type);

}  // namespace gradwise::kernels
