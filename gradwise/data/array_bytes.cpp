#include "gradwise/data/array_bytes.h"

#include <algorithm>
#include <limits>

namespace gradwise {

void swap_bytes(void* data, std::size_t count, std::size_t width) {
  unsigned char* at = static_cast<unsigned char*>(data);
  if (width < 2) {
    return;
  }
  for (std::size_t i = 0; i < count; ++i, at += width) {
    std::reverse(at, at + width);
  }
}

void clean_booleans(void* data, std::size_t count) {
  unsigned char* bytes = static_cast<unsigned char*>(data);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = bytes[i] != 0 ? 1 : 0;
  }
}

std::optional<std::uint64_t> byte_size(std::span<const std::int64_t> shape, std::size_t width) {
  constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();
  std::uint64_t bytes = width;
  for (const std::int64_t length : shape) {
    if (length < 0) {
      return std::nullopt;
    }
    const std::uint64_t factor = static_cast<std::uint64_t>(length);
    if (factor != 0 && bytes > kLargest / factor) {
      return std::nullopt;
    }
    bytes *= factor;
  }
  return bytes;
}

}  // namespace gradwise
