// Compiled once for each instruction set that Highway knows; the widest that the machine has is taken at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradwise/kernels/sketch_simd.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

#include "gradwise/kernels/for_each_element.h"
#include "gradwise/kernels/read_elements-inl.h"
#include "gradwise/kernels/sketch.h"
#include "gradwise/kernels/sketch_signs.h"

HWY_BEFORE_NAMESPACE();
namespace gradwise::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class Read>
void sketch_of(const void* data, std::size_t count, Sketch& sketch) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> bits;
  const std::size_t lanes = hn::Lanes(d);
  const auto* elements = static_cast<const typename Read::Stored*>(data);
  sketch.fill(0);
  for (std::size_t begin = 0; begin < count; begin += kSketchSize) {
    const BlockSigns block = signs_of_block(begin / kSketchSize);
    const auto whole = hn::Set(bits, block.whole);
    const std::size_t length = HWY_MIN(kSketchSize, count - begin);
    std::size_t i = 0;
    for (; i + lanes <= length; i += lanes) {
      const auto flip = hn::Xor(hn::LoadU(bits, block.signs + i), whole);
      const auto x = hn::BitCast(d, hn::Xor(hn::BitCast(bits, Read::load(elements + begin + i)), flip));
      hn::StoreU(hn::Add(hn::LoadU(d, sketch.data() + i), x), d, sketch.data() + i);
    }
    for (; i < length; ++i) {
      const auto x = static_cast<float>(element_at(static_cast<const std::byte*>(data), begin + i, Read::kElement));
      sketch[i] += with_sign(x, block.signs[i] ^ block.whole);
    }
  }
}

void sketch(const void* data, std::size_t count, Element type, Sketch& sketch) {
  switch (type) {
    case Element::float32:
      return sketch_of<ReadFloat32>(data, count, sketch);
    case Element::float16:
      return sketch_of<ReadFloat16>(data, count, sketch);
    case Element::bfloat16:
      return sketch_of<ReadBFloat16>(data, count, sketch);
    case Element::float64:
      return make_sketch_portable(data, count, type, sketch);
  }
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(sketch);

void make_sketch(const void* data, std::size_t count, Element type, Sketch& sketch_out) {
  HWY_DYNAMIC_DISPATCH(sketch)(data, count, type, sketch_out);
}

}  // namespace gradwise::kernels
#endif
