#pragma once

#include <array>
#include <cstddef>

#include "gradwise/kernels/moments.h"

namespace gradwise::kernels {

inline constexpr std::size_t kSketchSize = 1024;

/// A tensor's elements, each with a fixed random sign, summed into buckets: element i goes to bucket i modulo 1,024
/// (a count sketch; Charikar, Chen and Farach-Colton, "Finding frequent items in data streams", 2002, section 3). Inner
/// products of sketches are unbiased estimates of those of the tensors, with a standard error of at most about
/// |x| |y| / 32; of tensors of up to 1,024 elements they are exact within rounding.
using Sketch = std::array<float, kSketchSize>;

/// The moments of `count` elements, as `read_moments` gives them; adds the elements to `sketch`, in the same pass but
/// for float64. One that is not finite makes its bucket so. `first_block`: how many blocks of 1,024 elements of the
/// same tensor lie before them; the sketches of its parts add up to the whole's. Thread-safe for sketches of their own.
[[nodiscard]] Moments read_and_sketch(const void* data, std::size_t count, Element type, Sketch& sketch,
                                      std::size_t first_block = 0);

/// The reference of the sketch: element by element. `first`: elements of the same tensor before them.
void add_to_sketch_portable(const void* data, std::size_t count, Element type, Sketch& sketch, std::size_t first = 0);

/// Cosine of the angle between what two sketches are of; NaN where one of them is zero or not finite. Between -1 and 1.
/// `elements`: of each of the two; buckets that none of them falls into are not looked at.
[[nodiscard]] double cosine(const Sketch& a, const Sketch& b, std::size_t elements = kSketchSize);

}  // namespace gradwise::kernels
