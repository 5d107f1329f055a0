// Compiled once for each instruction set that Highway knows; the widest that the machine has is taken at run time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gradwise/kernels/sketch_simd.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include <hwy/highway.h>

#include "gradwise/kernels/moments_block-inl.h"
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

static_assert(kBlock == kSketchSize, "a block of the moments is one of the sketch");

template <class Read>
Moments read_all(const void* data, std::size_t count, Sketch& sketch, std::size_t first_block) {
  const auto* elements = static_cast<const typename Read::Stored*>(data);
  const std::size_t vectors = whole_vectors<Read>(count);
  const auto added = [&sketch, first_block](std::size_t block) {
    return [&sketch, signs = Signs(first_block + block)](std::size_t i, hn::Vec<Floats> x) {
      float* buckets = sketch.data() + i;
      hn::StoreU(hn::Add(hn::LoadU(Floats(), buckets), signs.applied(i, x)), Floats(), buckets);
    };
  };
  Moments total;
  add_in_vectors<Read>(elements, vectors, {}, added, total);
  total.merge(read_moments_portable(elements + vectors, count - vectors, Read::kElement));
  add_to_sketch_portable(elements + vectors, count - vectors, Read::kElement, sketch,
                         first_block * kSketchSize + vectors);
  return total;
}

Moments read_both(const void* data, std::size_t count, Element type, Sketch& sketch, std::size_t first_block) {
  switch (type) {
    case Element::float32:
      return read_all<ReadFloat32>(data, count, sketch, first_block);
    case Element::float16:
      return read_all<ReadFloat16>(data, count, sketch, first_block);
    case Element::bfloat16:
      return read_all<ReadBFloat16>(data, count, sketch, first_block);
    case Element::float64:
      break;
  }
  add_to_sketch_portable(data, count, type, sketch, first_block * kSketchSize);
  return read_moments(data, count, type);
}

}  // namespace gradwise::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gradwise::kernels {

HWY_EXPORT(read_both);

Moments read_and_sketch(const void* data, std::size_t count, Element type, Sketch& sketch_out,
                        std::size_t first_block) {
  return HWY_DYNAMIC_DISPATCH(read_both)(data, count, type, sketch_out, first_block);
}

}  // namespace gradwise::kernels
#endif
