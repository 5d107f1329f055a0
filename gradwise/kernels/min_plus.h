#pragma once

#include <cstddef>

namespace gradwise::kernels {

/// best[i] = min(best[i], constant + a[i] + b[i]) for `count` floats: the inner loop of dynamic programmes over splits.
/// The arrays may have any alignment; `best` overlaps neither `a` nor `b`.
void min_plus(float* best, const float* a, const float* b, float constant, std::size_t count);

/// The same without vector instructions: the reference.
void min_plus_portable(float* best, const float* a, const float* b, float constant, std::size_t count);

}  // namespace gradwise::kernels
