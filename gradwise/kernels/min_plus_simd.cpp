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

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(min_plus_float32);

void min_plus(float* best, const float* a, const float* b, float constant, std::size_t count) {
  HWY_DYNAMIC_DISPATCH(min_plus_float32)(best, a, b, constant, count);
}

}  // namespace gradwise::kernels
#endif
