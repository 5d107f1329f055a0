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

// Adds one block, which may be shorter than the sketch.
template <class Read>
void add_block(const void* data, std::size_t begin, std::size_t length, std::size_t first_block, Sketch& sketch) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> bits;
  const std::size_t lanes = hn::Lanes(d);
  const auto* elements = static_cast<const typename Read::Stored*>(data);
  const BlockSigns block = signs_of_block(first_block + begin / kSketchSize);
  const auto whole = hn::Set(bits, block.whole);
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

// Adds four whole blocks with one look at the sketch.
template <class Read>
void add_four_blocks(const typename Read::Stored* elements, std::size_t begin, std::size_t first_block,
                     Sketch& sketch) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> bits;
  BlockSigns blocks[4];
  for (std::size_t k = 0; k < 4; ++k) {
    blocks[k] = signs_of_block(first_block + begin / kSketchSize + k);
  }
  for (std::size_t i = 0; i < kSketchSize; i += hn::Lanes(d)) {
    auto sum = hn::LoadU(d, sketch.data() + i);
    for (std::size_t k = 0; k < 4; ++k) {
      const auto flip = hn::Xor(hn::LoadU(bits, blocks[k].signs + i), hn::Set(bits, blocks[k].whole));
      const auto x = Read::load(elements + begin + k * kSketchSize + i);
      sum = hn::Add(sum, hn::BitCast(d, hn::Xor(hn::BitCast(bits, x), flip)));
    }
    hn::StoreU(sum, d, sketch.data() + i);
  }
}

template <class Read>
void sketch_of(const void* data, std::size_t count, std::size_t first_block, Sketch& sketch) {
  sketch.fill(0);
  std::size_t begin = 0;
  for (; begin + 4 * kSketchSize <= count; begin += 4 * kSketchSize) {
    add_four_blocks<Read>(static_cast<const typename Read::Stored*>(data), begin, first_block, sketch);
  }
  for (; begin < count; begin += kSketchSize) {
    add_block<Read>(data, begin, HWY_MIN(kSketchSize, count - begin), first_block, sketch);
  }
}

void sketch(const void* data, std::size_t count, Element type, std::size_t first_block, Sketch& sketch) {
  switch (type) {
    case Element::float32:
      return sketch_of<ReadFloat32>(data, count, first_block, sketch);
    case Element::float16:
      return sketch_of<ReadFloat16>(data, count, first_block, sketch);
    case Element::bfloat16:
      return sketch_of<ReadBFloat16>(data, count, first_block, sketch);
    case Element::float64:
      return make_sketch_portable(data, count, type, sketch, first_block);
  }
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(sketch);

void make_sketch(const void* data, std::size_t count, Element type, Sketch& sketch_out, std::size_t first_block) {
  HWY_DYNAMIC_DISPATCH(sketch)(data, count, type, first_block, sketch_out);
}

}  // namespace gradwise::kernels
#endif
