#pragma once

#include <cstddef>
#include <cstdint>

#include "gradwise/core/reading.h"
#include "gradwise/kernels/moments.h"

namespace gradwise::kernels {

using WeightMoments = gradwise::WeightMoments;

/// One pass over the new weights and the old ones, which become the new ones. Both have `count` elements of one type.
/// float32 is summed in float32 within blocks of 1,024 elements, everything else in double. Non-finite elements make
/// the sums so. Thread-safe.
[[nodiscard]] WeightMoments read_weights(const void* weights, void* before, std::size_t count, Element type);

/// Its reference.
[[nodiscard]] WeightMoments read_weights_portable(const void* weights, void* before, std::size_t count, Element type);

}  // namespace gradwise::kernels
