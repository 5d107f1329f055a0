#pragma once

#include <cstddef>

namespace gradwise::kernels {

/// best[i] = min(best[i], constant + a[i] + b[i]) for `count` floats: the inner loop of dynamic programmes over splits.
/// The arrays may have any alignment; `best` overlaps neither `a` nor `b`.
void min_plus(float* best, const float* a, const float* b, float constant, std::size_t count);

/// The same without vector instructions: the reference.
void min_plus_portable(float* best, const float* a, const float* b, float constant, std::size_t count);

/// A split of two parts by two others: what min_plus takes for each pair of them.
struct PairOfSplits {
  const float* a[2];
  const float* b[2];
  float constant[2];  ///< beside b
};

/// best[2 p + q][i] = min(best[2 p + q][i], splits[k].constant[p] + splits[k].a[q][i] + splits[k].b[p][i]) over all k,
/// for p and q of 0 and 1: every array is read once for two of the results, which stay in registers over the splits.
void min_plus_pairs(float* const best[4], const PairOfSplits* splits, std::size_t number, std::size_t count);

/// The same without vector instructions, from `first` on: the reference.
void min_plus_pairs_portable(float* const best[4], const PairOfSplits* splits, std::size_t number, std::size_t first,
                             std::size_t count);

}  // namespace gradwise::kernels
