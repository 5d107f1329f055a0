// Compiled once for each instruction set that Highway knows; the widest that the machine has is taken at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradwise/kernels/min_plus_simd.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

#include "gradwise/kernels/min_plus.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void min_plus_float32(float* best, const float* a, const float* b, float constant, std::size_t count) {
  const hn::ScalableTag<float> d;
  const auto added = hn::Set(d, constant);
  const std::size_t in_vectors = count - count % hn::Lanes(d);
  for (std::size_t i = 0; i < in_vectors; i += hn::Lanes(d)) {
    const auto sum = hn::Add(hn::Add(added, hn::LoadU(d, a + i)), hn::LoadU(d, b + i));
    hn::StoreU(hn::Min(hn::LoadU(d, best + i), sum), d, best + i);
  }
  min_plus_portable(best + in_vectors, a + in_vectors, b + in_vectors, constant, count - in_vectors);
}

void min_plus_pairs_float32(float* const best[4], const PairOfSplits* splits, std::size_t number, std::size_t count) {
  const hn::ScalableTag<float> d;
  const std::size_t in_vectors = count - count % hn::Lanes(d);
  for (std::size_t i = 0; i < in_vectors; i += hn::Lanes(d)) {
    auto best00 = hn::LoadU(d, best[0] + i);
    auto best01 = hn::LoadU(d, best[1] + i);
    auto best10 = hn::LoadU(d, best[2] + i);
    auto best11 = hn::LoadU(d, best[3] + i);
    for (std::size_t k = 0; k < number; ++k) {
      const PairOfSplits& split = splits[k];
      const auto a0 = hn::LoadU(d, split.a[0] + i);
      const auto a1 = hn::LoadU(d, split.a[1] + i);
      const auto b0 = hn::Add(hn::Set(d, split.constant[0]), hn::LoadU(d, split.b[0] + i));
      const auto b1 = hn::Add(hn::Set(d, split.constant[1]), hn::LoadU(d, split.b[1] + i));
      best00 = hn::Min(best00, hn::Add(b0, a0));
      best01 = hn::Min(best01, hn::Add(b0, a1));
      best10 = hn::Min(best10, hn::Add(b1, a0));
      best11 = hn::Min(best11, hn::Add(b1, a1));
    }
    hn::StoreU(best00, d, best[0] + i);
    hn::StoreU(best01, d, best[1] + i);
    hn::StoreU(best10, d, best[2] + i);
    hn::StoreU(best11, d, best[3] + i);
  }
  min_plus_pairs_portable(best, splits, number, in_vectors, count);
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(min_plus_float32);

void min_plus(float* best, const float* a, const float* b, float constant, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(min_plus_float32)(best, a, b, constant, count);
}

HWY_EXPORT(min_plus_pairs_float32);

void min_plus_pairs(float* const best[4], const PairOfSplits* splits, std::size_t number, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(min_plus_pairs_float32)(best, splits, number, count);
}

}  // namespace gradwise::kernels
#endif
