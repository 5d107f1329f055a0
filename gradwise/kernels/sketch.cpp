#include "gradwise/kernels/sketch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "gradwise/kernels/for_each_element.h"
#include "gradwise/kernels/sketch_signs.h"

namespace gradwise::kernels {

void make_sketch_portable(const void* data, std::size_t count, Element type, Sketch& sketch, std::size_t first_block) {
  sketch.fill(0);
  std::size_t i = first_block * kSketchSize;
  for_each_element(data, count, type, [&sketch, &i](double x) {
    const BlockSigns block = signs_of_block(i / kSketchSize);
    sketch[i % kSketchSize] += with_sign(static_cast<float>(x), block.signs[i % kSketchSize] ^ block.whole);
    ++i;
  });
}

double cosine(const Sketch& a, const Sketch& b) {
  // Sums side by side, for the additions of one would wait for each other.
  constexpr std::size_t lanes = 16;
  std::array<double, lanes> dots{};
  std::array<double, lanes> squares_a{};
  std::array<double, lanes> squares_b{};
  for (std::size_t i = 0; i < kSketchSize; i += lanes) {
    for (std::size_t k = 0; k < lanes; ++k) {
      const double x = a[i + k];
      const double y = b[i + k];
      dots[k] += x * y;
      squares_a[k] += x * x;
      squares_b[k] += y * y;
    }
  }
  const auto sum = [](const std::array<double, lanes>& parts) {
    return std::accumulate(parts.begin(), parts.end(), 0.0);
  };
  const double norms = std::sqrt(sum(squares_a)) * std::sqrt(sum(squares_b));
  return norms > 0 && std::isfinite(norms) ? std::clamp(sum(dots) / norms, -1.0, 1.0)
                                           : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace gradwise::kernels
