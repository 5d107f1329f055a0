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

using Floats = hn::ScalableTag<float>;

// The signs of a block for vectors.
class Signs {
 public:
  explicit HWY_INLINE Signs(std::size_t block) : block_(block), bits_(block_.bits_from(0)) {}

  // The elements from `i` of the block on, each with its sign.
  HWY_INLINE hn::Vec<Floats> applied(std::size_t i, hn::Vec<Floats> x) const {
    // Vectors of less than eight lanes may begin within a byte of bits.
    const std::uint8_t* bits = hn::Lanes(Floats()) % 8 == 0 ? bits_ + i / 8 : block_.bits_from(i);
    return hn::IfThenElse(hn::LoadMaskBits(Floats(), bits), hn::Neg(x), x);
  }

 private:
  BlockSigns block_;
  const std::uint8_t* bits_;
};

// Adds one block, which may be shorter than the sketch.
template <class Read>
void add_block(const void* data, std::size_t begin, std::size_t length, std::size_t block, Sketch& sketch) {
  const Floats d;
  const auto* elements = static_cast<const typename Read::Stored*>(data) + begin;
  const Signs signs(block);
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= length; i += hn::Lanes(d)) {
    const auto x = signs.applied(i, Read::load(elements + i));
    hn::StoreU(hn::Add(hn::LoadU(d, sketch.data() + i), x), d, sketch.data() + i);
  }
  const BlockSigns single(block);
  for (; i < length; ++i) {
    const auto x = static_cast<float>(element_at(static_cast<const std::byte*>(data), begin + i, Read::kElement));
    sketch[i] += single.applied(i, x);
  }
}

// Adds four whole blocks with one look at the sketch.
template <class Read>
void add_four_blocks(const typename Read::Stored* elements, std::size_t block, Sketch& sketch) {
  const Floats d;
  const Signs first(block);
  const Signs second(block + 1);
  const Signs third(block + 2);
  const Signs fourth(block + 3);
  for (std::size_t i = 0; i < kSketchSize; i += hn::Lanes(d)) {
    auto sum = hn::LoadU(d, sketch.data() + i);
    sum = hn::Add(sum, first.applied(i, Read::load(elements + i)));
    sum = hn::Add(sum, second.applied(i, Read::load(elements + kSketchSize + i)));
    sum = hn::Add(sum, third.applied(i, Read::load(elements + 2 * kSketchSize + i)));
    sum = hn::Add(sum, fourth.applied(i, Read::load(elements + 3 * kSketchSize + i)));
    hn::StoreU(sum, d, sketch.data() + i);
  }
}

template <class Read>
void add_all(const void* data, std::size_t count, std::size_t first_block, Sketch& sketch) {
  std::size_t begin = 0;
  for (; begin + 4 * kSketchSize <= count; begin += 4 * kSketchSize) {
    const auto* elements = static_cast<const typename Read::Stored*>(data) + begin;
    add_four_blocks<Read>(elements, first_block + begin / kSketchSize, sketch);
  }
  for (; begin < count; begin += kSketchSize) {
    add_block<Read>(data, begin, HWY_MIN(kSketchSize, count - begin), first_block + begin / kSketchSize, sketch);
  }
}

void add(const void* data, std::size_t count, Element type, std::size_t first_block, Sketch& sketch) {
  switch (type) {
    case Element::float32:
      return add_all<ReadFloat32>(data, count, first_block, sketch);
    case Element::float16:
      return add_all<ReadFloat16>(data, count, first_block, sketch);
    case Element::bfloat16:
      return add_all<ReadBFloat16>(data, count, first_block, sketch);
    case Element::float64:
      return add_to_sketch_portable(data, count, type, sketch, first_block);
  }
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(add);

void add_to_sketch(const void* data, std::size_t count, Element type, Sketch& sketch_out, std::size_t first_block) {
  HWY_DYNAMIC_DISPATCH(add)(data, count, type, first_block, sketch_out);
}

}  // namespace gradwise::kernels
#endif
