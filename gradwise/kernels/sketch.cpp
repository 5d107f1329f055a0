#include "gradwise/kernels/sketch.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "gradwise/kernels/for_each_element.h"
#include "gradwise/kernels/sketch_signs.h"

namespace gradwise::kernels {

void make_sketch_portable(const void* data, std::size_t count, Element type, Sketch& sketch) {
  sketch.fill(0);
  std::size_t i = 0;
  for_each_element(data, count, type, [&sketch, &i](double x) {
    const BlockSigns block = signs_of_block(i / kSketchSize);
    sketch[i % kSketchSize] += with_sign(static_cast<float>(x), block.signs[i % kSketchSize] ^ block.whole);
    ++i;
  });
}

double cosine(const Sketch& a, const Sketch& b) {
  double dot = 0;
  double squares_a = 0;
  double squares_b = 0;
  for (std::size_t i = 0; i < kSketchSize; ++i) {
    const double x = a[i];
    const double y = b[i];
    dot += x * y;
    squares_a += x * x;
    squares_b += y * y;
  }
  const double norms = std::sqrt(squares_a) * std::sqrt(squares_b);
  return norms > 0 && std::isfinite(norms) ? std::clamp(dot / norms, -1.0, 1.0)
                                           : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace gradwise::kernels
