#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "gradwise/core/element.h"

namespace gradwise::kernels {

/// What one pass over the elements of a tensor gives. Sums, least and greatest are of the finite elements alone, so
/// that one NaN does not hide the rest.
struct Moments {
  std::int64_t count = 0;
  std::int64_t zeros = 0;
  std::int64_t nans = 0;
  std::int64_t infs = 0;
  double sum = 0;
  double sum_abs = 0;
  double sum_squares = 0;
  double min = std::numeric_limits<double>::infinity();   ///< +inf where no element is finite
  double max = -std::numeric_limits<double>::infinity();  ///< -inf where no element is finite

  [[nodiscard]] std::int64_t finite() const { return count - nans - infs; }
  [[nodiscard]] double l1() const { return sum_abs; }
  [[nodiscard]] double l2() const;
  [[nodiscard]] double max_abs() const;   ///< 0 where no element is finite
  [[nodiscard]] double mean() const;      ///< NaN where no element is finite
  [[nodiscard]] double variance() const;  ///< of the population (divided by n); NaN where no element is finite

  /// Takes in what a pass over other elements gave.
  void merge(const Moments& other);
};

/// Elements that are read between two roundings of the sums to double.
inline constexpr std::size_t kBlock = 1024;

/// Elements of a tensor that are one piece of work. Figures of the pieces are joined in their order, by everyone who
/// cuts a tensor, so that they have the same bits whoever reads it and with any number of threads.
inline constexpr std::size_t kPiece = 16 * kBlock;

/// What is read after a piece, in elements of the same type: the start of another tensor, or nothing. Where tensors are
/// small, the hardware would notice too late what to have in the cache.
struct NextRead {
  const void* data = nullptr;
  std::size_t count = 0;
};

/// One pass over `count` elements of `data`, with the widest vectors that the machine has. float64 is read as such;
/// the other types are summed in float32 within blocks of 1,024 elements and in double between them, so that the sums'
/// relative error stays below 4e-6 of the sum of absolute values. `next` is fetched into the cache meanwhile.
/// Thread-safe.
[[nodiscard]] Moments read_moments(const void* data, std::size_t count, Element type, NextRead next = {});

/// Its reference: element by element in double.
[[nodiscard]] Moments read_moments_portable(const void* data, std::size_t count, Element type);

}  // namespace gradwise::kernels
