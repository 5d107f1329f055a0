#include "gradwise/kernels/min_plus.h"

#include <algorithm>

namespace gradwise::kernels {

void min_plus_portable(float* best, const float* a, const float* b, float constant, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    best[i] = std::min(best[i], constant + a[i] + b[i]);
  }
}

void min_plus_pairs_portable(float* const best[4], const PairOfSplits* splits, std::size_t number, std::size_t first,
                             std::size_t count) {
  for (std::size_t i = first; i < count; ++i) {
    for (std::size_t cell = 0; cell < 4; ++cell) {
      const std::size_t p = cell / 2;
      const std::size_t q = cell % 2;
      for (std::size_t k = 0; k < number; ++k) {
        best[cell][i] = std::min(best[cell][i], splits[k].constant[p] + splits[k].b[p][i] + splits[k].a[q][i]);
      }
    }
  }
}

}  // namespace gradwise::kernels
