#include "gradwise/kernels/histogram.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "gradwise/kernels/for_each_element.h"

namespace gradwise::kernels {

void add_to_histogram_portable(const void* data, std::size_t count, Element type, Histogram& histogram) {
  for_each_element(data, count, type, [&histogram](double x) {
    const auto bits = std::bit_cast<std::uint64_t>(x);
    const int exponent = static_cast<int>((bits >> 52) & 0x7FF) - 1023;
    if (x == 0 || exponent == 1024) {
      return;
    }
    const int bin = std::clamp(exponent - kHistogramLowest, 0, 31);
    ++histogram[static_cast<std::size_t>(bin + (x > 0 ? 32 : 0))];
  });
}

}  // namespace gradwise::kernels
