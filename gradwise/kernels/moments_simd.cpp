// Compiled once for each instruction set that Highway knows; the widest that the machine has is taken at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradwise/kernels/moments_simd.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

#include <span>

#include "gradwise/kernels/moments.h"
#include "gradwise/kernels/moments_block-inl.h"
#include "gradwise/kernels/read_elements-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class Read>
Moments read_all(const void* data, std::size_t count, NextRead next) {
  using Stored = typename Read::Stored;
  const auto* elements = static_cast<const Stored*>(data);
  const std::size_t vectors = whole_vectors<Read>(count);
  const auto nothing = [](std::size_t /*block*/) { return [](std::size_t /*begin*/, hn::Vec<typename Read::Tag>) {}; };
  Moments total;
  add_in_vectors<Read>(elements, vectors, std::span(static_cast<const Stored*>(next.data), next.count), nothing, total);
  total.merge(read_moments_portable(elements + vectors, count - vectors, Read::kElement));
  return total;
}

Moments read(const void* data, std::size_t count, Element type, NextRead next) {
  switch (type) {
    case Element::float32:
      return read_all<ReadFloat32>(data, count, next);
    case Element::float64:
      return read_all<ReadFloat64>(data, count, next);
    case Element::float16:
      return read_all<ReadFloat16>(data, count, next);
    case Element::bfloat16:
      break;
  }
  return read_all<ReadBFloat16>(data, count, next);
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(read);

Moments read_moments(const void* data, std::size_t count, Element type, NextRead next) {
  return HWY_DYNAMIC_DISPATCH(read)(data, count, type, next);
}

}  // namespace gradwise::kernels
#endif
