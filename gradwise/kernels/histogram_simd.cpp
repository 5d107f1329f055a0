// Compiled once for each instruction set that Highway knows; the widest that the machine has is taken at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradwise/kernels/histogram_simd.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "gradwise/kernels/histogram.h"
#include "gradwise/kernels/read_elements-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kBins = 64;

// The bin of each element of a vector, from its bits. Zeros and what is not finite are put into the first, and counted
// in `strays`.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToSigned<D>> bins_of(D, hn::Vec<D> x, std::size_t& strays) {
  const hn::RebindToSigned<D> whole;
  const auto bits = hn::BitCast(whole, x);
  const auto magnitude = hn::And(bits, hn::Set(whole, 0x7FFFFFFF));
  const auto exponent = hn::Sub(hn::ShiftRight<23>(magnitude), hn::Set(whole, 127 + kHistogramLowest));
  const auto bin = hn::Min(hn::Max(exponent, hn::Zero(whole)), hn::Set(whole, 31));
  const auto positive = hn::AndNot(hn::BroadcastSignBit(bits), hn::Set(whole, 32));
  const auto counts = hn::And(hn::Gt(magnitude, hn::Zero(whole)), hn::Lt(magnitude, hn::Set(whole, 0x7F800000)));
  strays += hn::Lanes(whole) - hn::CountTrue(whole, counts);
  return hn::IfThenElseZero(counts, hn::Add(bin, positive));
}

// Two neighbours are counted at once, as a pair of bins: half the work, and equal bins seldom wait for each other. Not
// for 2^18 elements or more. Small enough to stay in the first cache.
class PairCounts {
 public:
  HWY_INLINE void add(const std::uint16_t* pairs, std::size_t count) {
    for (std::size_t i = 0; i < count; i += 2) {
      ++even_[pairs[i]];
      ++odd_[pairs[i + 1]];
    }
  }
  void add_to(Histogram& histogram) const {
    for (std::size_t second = 0; second < kBins; ++second) {
      for (std::size_t first = 0; first < kBins; ++first) {
        const std::size_t pair = first + kBins * second;
        const std::int64_t times = std::int64_t{even_[pair]} + odd_[pair];
        histogram[first] += times;
        histogram[second] += times;
      }
    }
  }

 private:
  std::uint16_t even_[kBins * kBins] = {};
  std::uint16_t odd_[kBins * kBins] = {};
};

template <class Read>
void count_all(const void* data, std::size_t count, Histogram& histogram) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<std::uint16_t, decltype(d)> half;
  const std::size_t lanes = hn::Lanes(d);
  const auto* elements = static_cast<const typename Read::Stored*>(data);
  const std::size_t in_vectors = count - count % (4 * lanes);
  HWY_ALIGN std::uint16_t pairs[kBlock / 2];
  PairCounts counts;
  std::size_t strays = 0;
  for (std::size_t done = 0; done < in_vectors; done += kBlock) {
    const std::size_t length = std::min(kBlock, in_vectors - done);
    for (std::size_t i = 0; i < length; i += 2 * lanes) {
      const auto first = bins_of(d, Read::load(elements + done + i), strays);
      const auto second = bins_of(d, Read::load(elements + done + i + lanes), strays);
      hn::StoreU(hn::DemoteTo(half, hn::Or(first, hn::ShiftLeft<6>(second))), half, pairs + i / 2);
    }
    counts.add(pairs, length / 2);
  }
  counts.add_to(histogram);
  histogram[0] -= static_cast<std::int64_t>(strays);
  add_to_histogram_portable(elements + in_vectors, count - in_vectors, Read::kElement, histogram);
}

// Fewer are not worth clearing and adding up the tables of pairs, and more would overflow them.
constexpr std::size_t kWorthPairs = 4096;
constexpr std::size_t kMostAtOnce = std::size_t{1} << 17;

template <class Read>
void count_in_parts(const void* data, std::size_t count, Histogram& histogram) {
  const auto* elements = static_cast<const typename Read::Stored*>(data);
  for (std::size_t done = 0; done < count; done += kMostAtOnce) {
    count_all<Read>(elements + done, std::min(kMostAtOnce, count - done), histogram);
  }
}

void add(const void* data, std::size_t count, Element type, Histogram& histogram) {
  if (count < kWorthPairs) {
    return add_to_histogram_portable(data, count, type, histogram);
  }
  switch (type) {
    case Element::float32:
      return count_in_parts<ReadFloat32>(data, count, histogram);
    case Element::bfloat16:
      return count_in_parts<ReadBFloat16>(data, count, histogram);
    case Element::float16:  // Highway's stand-in for a missing conversion turns infinities into numbers
    case Element::float64:
      return add_to_histogram_portable(data, count, type, histogram);
  }
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(add);

void add_to_histogram(const void* data, std::size_t count, Element type, Histogram& histogram) {
  HWY_DYNAMIC_DISPATCH(add)(data, count, type, histogram);
}

}  // namespace gradwise::kernels
#endif
