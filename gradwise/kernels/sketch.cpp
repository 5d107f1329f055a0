#include "gradwise/kernels/sketch.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "gradwise/kernels/for_each_element.h"
#include "gradwise/kernels/sketch_signs.h"

namespace gradwise::kernels {

void add_to_sketch_portable(const void* data, std::size_t count, Element type, Sketch& sketch, std::size_t first) {
  std::size_t i = first;
  for_each_element(data, count, type, [&sketch, &i](double x) {
    const std::size_t bucket = i % kSketchSize;
    sketch[bucket] += BlockSigns(i / kSketchSize).applied(bucket, static_cast<float>(x));
    ++i;
  });
}

double cosine(const Sketch& a, const Sketch& b, std::size_t elements) {
  // Sums side by side, for the additions of one would wait for each other.
  constexpr std::size_t lanes = 16;
  std::array<double, lanes> dots{};
  std::array<double, lanes> squares_a{};
  std::array<double, lanes> squares_b{};
  const auto add = [&](std::size_t lane, double x, double y) {
    dots[lane] += x * y;
    squares_a[lane] += x * x;
    squares_b[lane] += y * y;
  };
  const std::size_t used = std::min(elements, kSketchSize);
  const std::size_t whole = used - used % lanes;
  for (std::size_t i = 0; i < whole; i += lanes) {
    for (std::size_t k = 0; k < lanes; ++k) {
      add(k, a[i + k], b[i + k]);
    }
  }
  for (std::size_t i = whole; i < used; ++i) {
    add(0, a[i], b[i]);
  }
  const auto sum = [](const std::array<double, lanes>& parts) {
    return std::accumulate(parts.begin(), parts.end(), 0.0);
  };
  const double norms = std::sqrt(sum(squares_a)) * std::sqrt(sum(squares_b));
  return norms > 0 && std::isfinite(norms) ? std::clamp(sum(dots) / norms, -1.0, 1.0)
                                           : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace gradwise::kernels
