// Float32 vectors rounded to the types of 16 bits, for the kernels. Parsed once for each instruction set (Highway's
// convention for such headers), hence no #pragma once.
#if defined(GRADWISE_ROUND_VECTORS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef GRADWISE_ROUND_VECTORS_INL_H
#undef GRADWISE_ROUND_VECTORS_INL_H
#else
#define GRADWISE_ROUND_VECTORS_INL_H
#endif

#include <hwy/highway.h>

// Whether the instruction set converts float16 by itself; Highway's stand-in turns infinities and NaN into numbers.
#undef GRADWISE_FLOAT16_IN_SOFTWARE
#define GRADWISE_FLOAT16_IN_SOFTWARE                                                                          \
  (HWY_TARGET == HWY_SSE2 || HWY_TARGET == HWY_SSSE3 || HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_EMU128 || \
   HWY_TARGET == HWY_SCALAR)

#include "gradwise/kernels/for_each_element.h"
#include "gradwise/kernels/fused_update.h"
#include "gradwise/kernels/narrow.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Singles = hn::ScalableTag<float>;
using Words = hn::RebindToUnsigned<Singles>;

// kernels/mixed_bits.h, as vectors.
HWY_INLINE hn::Vec<Words> mixed_vector(hn::Vec<Words> x) {
  const Words d;
  x = hn::Xor(x, hn::ShiftRight<16>(x));
  x = hn::Mul(x, hn::Set(d, 0x85EBCA6BU));
  x = hn::Xor(x, hn::ShiftRight<13>(x));
  x = hn::Mul(x, hn::Set(d, 0xC2B2AE35U));
  return hn::Xor(x, hn::ShiftRight<16>(x));
}

// The float32 whose upper half is the bfloat16 that `x` becomes; the lower half is zero.
HWY_INLINE hn::Vec<Singles> as_bfloat16(hn::Vec<Singles> x, Rounding rounding, std::uint32_t seed,
                                        std::uint32_t index) {
  const Singles d;
  const Words w;
  const auto bits = hn::BitCast(w, x);
  const auto last = hn::And(hn::ShiftRight<16>(bits), hn::Set(w, 1));
  auto added = hn::Add(last, hn::Set(w, 0x7FFF));
  if (rounding == Rounding::stochastic) {
    const auto mixed = mixed_vector(hn::Xor(hn::Iota(w, index), hn::Set(w, seed)));
    added = hn::And(mixed, hn::Set(w, 0xFFFF));
  }
  // A sum would carry a NaN over into a number; an infinity it leaves one.
  const auto quiet = hn::Or(bits, hn::Set(w, 0x400000U));
  const auto rounded = hn::IfThenElse(hn::RebindMask(w, hn::IsNaN(x)), quiet, hn::Add(bits, added));
  return hn::BitCast(d, hn::And(rounded, hn::Set(w, 0xFFFF0000U)));
}

// One vector, rounded to float16.
HWY_INLINE hn::Vec<Singles> as_float16(hn::Vec<Singles> x) {
  const Singles d;
#if GRADWISE_FLOAT16_IN_SOFTWARE
  HWY_ALIGN float lanes[hn::MaxLanes(d)];
  hn::Store(x, d, lanes);
  for (float& lane : lanes) {
    lane = widen_float16(narrow_float16(lane));
  }
  return hn::Load(d, lanes);
#else
  const hn::Rebind<hwy::float16_t, Singles> half;
  return hn::PromoteTo(d, hn::DemoteTo(half, x));
#endif
}

// The same, as it is stored.
HWY_INLINE void store_bfloat16(hn::Vec<Singles> rounded, hwy::bfloat16_t* to) {
  const hn::RebindToSigned<Singles> whole;
  const hn::Rebind<std::uint16_t, Singles> half;
  const auto upper = hn::ShiftRight<16>(hn::BitCast(Words(), rounded));
  hn::StoreU(hn::DemoteTo(half, hn::BitCast(whole, upper)), half, reinterpret_cast<std::uint16_t*>(to));
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
