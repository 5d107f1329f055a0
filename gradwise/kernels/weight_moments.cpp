#include "gradwise/kernels/weight_moments.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gradwise/kernels/for_each_element.h"

namespace gradwise::kernels {

WeightMoments read_weights_portable(const void* weights, void* before, std::size_t count, Element type) {
  WeightMoments m;
  m.count = static_cast<std::int64_t>(count);
  const std::size_t size = size_of(type);
  const auto* now = static_cast<const std::byte*>(weights);
  auto* old = static_cast<std::byte*>(before);
  for (std::size_t i = 0; i < count; ++i) {
    const double x = element_at(now, i, type);
    const double y = element_at(old, i, type);
    m.sum += x;
    m.sum_squares += x * x;
    m.max_abs = std::max(m.max_abs, std::abs(x));
    m.update_squares += (x - y) * (x - y);
    m.squares_before += y * y;
  }
  // An empty tensor has no memory, and memcpy takes no null pointer.
  if (count > 0) std::memcpy(before, weights, count * size);
  return m;
}

}  // namespace gradwise::kernels
