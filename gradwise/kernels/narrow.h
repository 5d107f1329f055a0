#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "gradwise/kernels/mixed_bits.h"

/// From float32 to the types of 16 bits, one number at a time.
namespace gradwise::kernels {

/// To nearest, ties to even; a NaN stays one.
inline std::uint16_t narrow_bfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) {
    return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  }
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

/// Up with the probability of what is cut off: the lower 16 bits of `random` against those of `x`.
inline std::uint16_t narrow_bfloat16(float x, std::uint32_t random) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (!std::isfinite(x)) {
    return narrow_bfloat16(x);
  }
  return static_cast<std::uint16_t>((bits + (random & 0xFFFFU)) >> 16);
}

/// To nearest, ties to even; infinity above 65,519.
inline std::uint16_t narrow_float16(float x) {
  const std::uint32_t sign = (std::bit_cast<std::uint32_t>(x) >> 16) & 0x8000U;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU;
  if (bits > 0x7F800000U) {
    return static_cast<std::uint16_t>(sign | 0x7E00U);
  }
  if (bits >= 0x477FF000U) {  // 65,520, which rounds up
    return static_cast<std::uint16_t>(sign | 0x7C00U);
  }
  if (bits < 0x38800000U) {  // subnormal: in units of 2^-24, which this sum rounds to
    const float units = std::bit_cast<float>(bits) + 0.5F;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(units) - 0x3F000000U));
  }
  const std::uint32_t rounded = bits + 0xFFFU + ((bits >> 13) & 1U);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

/// An update's memory has lines that are rounded by numbers of their own.
enum class LineKind : std::uint32_t { weights, first, second, third, average };

constexpr std::uint32_t line_seed(std::uint32_t seed, LineKind kind) {
  return mixed(seed + 0x9E3779B9U * (static_cast<std::uint32_t>(kind) + 1));
}

/// The bits that round element `index` of a line.
constexpr std::uint32_t rounding_bits(std::uint32_t seed, std::uint32_t index) { return mixed(index ^ seed); }

}  // namespace gradwise::kernels
