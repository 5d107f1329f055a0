// The moments of a block of elements, for the kernels that read more of it in the same pass. Parsed once for each
// instruction set (Highway's convention for such headers), hence no #pragma once.
#if defined(GRADWISE_MOMENTS_BLOCK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef GRADWISE_MOMENTS_BLOCK_INL_H
#undef GRADWISE_MOMENTS_BLOCK_INL_H
#else
#define GRADWISE_MOMENTS_BLOCK_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "gradwise/kernels/moments.h"
#include "gradwise/kernels/read_elements-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The sums of one block, as vectors. Two of them run side by side, to hide the latency of the additions.
template <class Tag>
struct BlockSums {
  using V = hn::Vec<Tag>;
  V sum = hn::Zero(Tag());
  V sum_abs = hn::Zero(Tag());
  V sum_squares = hn::Zero(Tag());
  std::size_t zeros = 0;
  V min;
  V max;

  explicit HWY_INLINE BlockSums(V first) : min(first), max(first) {}

  HWY_INLINE void add(V x) {
    sum = hn::Add(sum, x);
    sum_abs = hn::Add(sum_abs, hn::Abs(x));
    sum_squares = hn::MulAdd(x, x, sum_squares);
    zeros += hn::CountTrue(Tag(), hn::Eq(x, hn::Zero(Tag())));
    min = hn::Min(min, x);
    max = hn::Max(max, x);
  }
  HWY_INLINE void merge(const BlockSums& other) {
    sum = hn::Add(sum, other.sum);
    sum_abs = hn::Add(sum_abs, other.sum_abs);
    sum_squares = hn::Add(sum_squares, other.sum_squares);
    zeros += other.zeros;
    min = hn::Min(min, other.min);
    max = hn::Max(max, other.max);
  }
  HWY_INLINE void write(Moments& m) const {
    const Tag d;
    m.sum = static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum)));
    m.sum_abs = static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum_abs)));
    m.sum_squares = static_cast<double>(hn::GetLane(hn::SumOfLanes(d, sum_squares)));
    m.zeros = static_cast<std::int64_t>(zeros);
    m.min = static_cast<double>(hn::GetLane(hn::MinOfLanes(d, min)));
    m.max = static_cast<double>(hn::GetLane(hn::MaxOfLanes(d, max)));
  }
};

// A block of `count` elements, a multiple of two vectors; false where it holds what the sums can't: a non-finite
// element, or in float32 magnitudes near the ends of the range. `next` is fetched line by line: all at once would hold
// up the block's own loads. `also` is given each vector and where in the block it begins.
template <class Read, class Also>
HWY_INLINE bool read_block(const typename Read::Stored* data, std::size_t count,
                           std::span<const typename Read::Stored> next, const Also& also, Moments& m) {
  using Tag = typename Read::Tag;
  const std::size_t lanes = hn::Lanes(Tag());
  BlockSums<Tag> even(Read::load(data));
  BlockSums<Tag> odd(Read::load(data));
  for (std::size_t i = 0; i < count; i += 2 * lanes) {
    const auto first = Read::load(data + i);
    const auto second = Read::load(data + i + lanes);
    even.add(first);
    odd.add(second);
    also(i, first);
    also(i + lanes, second);
    if (i + lanes < next.size()) {
      hwy::Prefetch(&next[i]);
      hwy::Prefetch(&next[i + lanes]);
    }
  }
  even.merge(odd);
  even.write(m);
  m.count = static_cast<std::int64_t>(count);
  if (!std::isfinite(m.sum_abs) || !std::isfinite(m.sum_squares)) {
    return false;
  }
  const double largest = std::max(std::abs(m.min), std::abs(m.max));
  return m.zeros == m.count || (largest >= Read::kLow && largest <= Read::kHigh);
}

// Reads what whole pairs of vectors hold; the rest is its caller's. `also_of` gives, for a block's number, what is done
// with its vectors beside.
template <class Read, class AlsoOf>
HWY_INLINE void add_in_vectors(const typename Read::Stored* elements, std::size_t in_vectors,
                               std::span<const typename Read::Stored> next, const AlsoOf& also_of, Moments& total) {
  for (std::size_t done = 0; done < in_vectors; done += kBlock) {
    const std::size_t length = std::min(kBlock, in_vectors - done);
    Moments block;
    const bool last = done + length == in_vectors;
    if (!read_block<Read>(elements + done, length, last ? next : std::span<const typename Read::Stored>(),
                          also_of(done / kBlock), block)) {
      block = read_moments_portable(elements + done, length, Read::kElement);
    }
    total.merge(block);
  }
}

template <class Read>
HWY_INLINE std::size_t whole_vectors(std::size_t count) {
  return count - count % (2 * hn::Lanes(typename Read::Tag()));
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
