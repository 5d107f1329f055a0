// Compiled once for each instruction set that Highway knows; the widest that the machine has is taken at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradwise/kernels/weight_moments_simd.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>

#include "gradwise/kernels/read_elements-inl.h"
#include "gradwise/kernels/weight_moments.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;

HWY_INLINE double total(hn::Vec<Floats> x) { return static_cast<double>(hn::GetLane(hn::SumOfLanes(Floats(), x))); }

// `count` is a multiple of the lanes and at most kBlock.
HWY_INLINE WeightMoments read_block(const float* weights, float* before, std::size_t count) {
  const Floats d;
  auto sum = hn::Zero(d);
  auto squares = hn::Zero(d);
  auto most = hn::Zero(d);
  auto update = hn::Zero(d);
  auto squares_before = hn::Zero(d);
  for (std::size_t i = 0; i < count; i += hn::Lanes(d)) {
    const auto x = hn::LoadU(d, weights + i);
    const auto y = hn::LoadU(d, before + i);
    const auto moved = hn::Sub(x, y);
    sum = hn::Add(sum, x);
    squares = hn::MulAdd(x, x, squares);
    most = hn::Max(most, hn::Abs(x));
    update = hn::MulAdd(moved, moved, update);
    squares_before = hn::MulAdd(y, y, squares_before);
    hn::StoreU(x, d, before + i);
  }
  return {static_cast<std::int64_t>(count),
          total(sum),
          total(squares),
          static_cast<double>(hn::GetLane(hn::MaxOfLanes(d, most))),
          total(update),
          total(squares_before)};
}

WeightMoments read_float32(const float* weights, float* before, std::size_t count) {
  const std::size_t in_vectors = count - count % hn::Lanes(Floats());
  WeightMoments all;
  for (std::size_t done = 0; done < in_vectors; done += kBlock) {
    all.merge(read_block(weights + done, before + done, std::min(kBlock, in_vectors - done)));
  }
  all.merge(read_weights_portable(weights + in_vectors, before + in_vectors, count - in_vectors, Element::float32));
  return all;
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(read_float32);

WeightMoments read_weights(const void* weights, void* before, std::size_t count, Element type) {
  return type == Element::float32 ? HWY_DYNAMIC_DISPATCH(read_float32)(static_cast<const float*>(weights),
                                                                       static_cast<float*>(before), count)
                                  : read_weights_portable(weights, before, count, type);
}

}  // namespace gradwise::kernels
#endif
