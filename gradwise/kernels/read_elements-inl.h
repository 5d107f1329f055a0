// Elements of memory as vectors, for the kernels. Parsed once for each instruction set (Highway's convention for such
// headers), hence no #pragma once.
#if defined(GRADWISE_READ_ELEMENTS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef GRADWISE_READ_ELEMENTS_INL_H
#undef GRADWISE_READ_ELEMENTS_INL_H
#else
#define GRADWISE_READ_ELEMENTS_INL_H
#endif

#include <hwy/highway.h>

#include <limits>

#include "gradwise/kernels/moments.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Squares of float32 outside these bounds overflow, or lose their bits to underflow.
constexpr double kSafeLow = 0x1p-45;
constexpr double kSafeHigh = 0x1p+55;

// The elements of each type as float32 vectors; float64 stays as it is. Magnitudes between the bounds, and zero, are
// summed rightly.
struct ReadFloat32 {
  static constexpr Element kElement = Element::float32;
  using Stored = float;
  using Tag = hn::ScalableTag<float>;
  static constexpr double kLow = kSafeLow;
  static constexpr double kHigh = kSafeHigh;
  static HWY_INLINE hn::Vec<Tag> load(const Stored* from) { return hn::LoadU(Tag(), from); }
};
struct ReadFloat64 {
  static constexpr Element kElement = Element::float64;
  using Stored = double;
  using Tag = hn::ScalableTag<double>;
  static constexpr double kLow = 0;
  static constexpr double kHigh = std::numeric_limits<double>::max();
  static HWY_INLINE hn::Vec<Tag> load(const Stored* from) { return hn::LoadU(Tag(), from); }
};
struct ReadFloat16 {
  static constexpr Element kElement = Element::float16;
  using Stored = hwy::float16_t;
  using Tag = hn::ScalableTag<float>;
  static constexpr double kLow = kSafeLow;
  static constexpr double kHigh = 65504;
  static HWY_INLINE hn::Vec<Tag> load(const Stored* from) {
    const hn::Rebind<hwy::float16_t, Tag> half;
    const hn::Vec<Tag> wide = hn::PromoteTo(Tag(), hn::LoadU(half, from));
    return kWidensAll ? with_infinities(wide) : wide;
  }

 private:
  // Highway widens infinities to 65536 and NaN to what is above where the processor has no instruction for it.
  static constexpr bool kWidensAll =
      (HWY_ARCH_X86 != 0 && HWY_TARGET > HWY_AVX2) || HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128;
  static HWY_INLINE hn::Vec<Tag> with_infinities(hn::Vec<Tag> wide) {
    const hn::Vec<Tag> magnitude = hn::Abs(wide);
    const hn::Vec<Tag> infinite = hn::CopySign(hn::Inf(Tag()), wide);
    const hn::Vec<Tag> whole = hn::IfThenElse(hn::Eq(magnitude, hn::Set(Tag(), 65536.0F)), infinite, wide);
    const auto is_nan = hn::And(hn::Gt(magnitude, hn::Set(Tag(), 65536.0F)), hn::Lt(magnitude, hn::Inf(Tag())));
    return hn::IfThenElse(is_nan, hn::NaN(Tag()), whole);
  }
};
struct ReadBFloat16 {
  static constexpr Element kElement = Element::bfloat16;
  using Stored = hwy::bfloat16_t;
  using Tag = hn::ScalableTag<float>;
  static constexpr double kLow = kSafeLow;
  static constexpr double kHigh = kSafeHigh;
  static HWY_INLINE hn::Vec<Tag> load(const Stored* from) {
    const hn::Rebind<hwy::bfloat16_t, Tag> half;
    return hn::PromoteTo(Tag(), hn::LoadU(half, from));
  }
};

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
