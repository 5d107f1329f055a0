#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gradwise/kernels/moments.h"

/// The elements of any type one after the other: what the portable forms of the kernels stand on.
namespace gradwise::kernels {

inline float widen_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

/// IEEE 754 binary16 to binary32.
inline float widen_float16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t fraction = bits & 0x3FFU;
  if (exponent == 0x1F) {
    return std::bit_cast<float>(sign | 0x7F800000U | (fraction << 13));
  }
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
}

/// Bytes of an element.
[[nodiscard]] inline std::size_t size_of(Element type) {
  return type == Element::float64 ? 8 : type == Element::float32 ? 4 : 2;
}

/// Element `i` as a double.
[[nodiscard]] inline double element_at(const std::byte* data, std::size_t i, Element type) {
  const auto read = [data, i]<class T>(T value) {
    std::memcpy(&value, data + i * sizeof(T), sizeof(T));
    return value;
  };
  switch (type) {
    case Element::float32:
      return static_cast<double>(read(float{}));
    case Element::float64:
      return read(double{});
    case Element::float16:
      return static_cast<double>(widen_float16(read(std::uint16_t{})));
    case Element::bfloat16:
      return static_cast<double>(widen_bfloat16(read(std::uint16_t{})));
  }
  return 0;
}

/// Calls `act` with each element as a double.
template <class Act>
void for_each_element(const void* data, std::size_t count, Element type, Act act) {
  for (std::size_t i = 0; i < count; ++i) {
    act(element_at(static_cast<const std::byte*>(data), i, type));
  }
}

}  // namespace gradwise::kernels
