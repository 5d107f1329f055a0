#pragma once

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "gradwise/kernels/moments.h"

namespace gradwise::kernels {

struct Case {
  std::string name;
  double scale;    // of the numbers
  double zeros;    // share of zeros
  double strange;  // share of NaN and infinities
};

inline std::vector<double> numbers(std::size_t count, const Case& how, unsigned int seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0.1, 1.0);
  std::uniform_real_distribution<double> share(0, 1);
  std::vector<double> values(count);
  for (double& value : values) {
    value = normal(engine) * how.scale;
    if (share(engine) < how.zeros) {
      value = share(engine) < 0.5 ? 0.0 : -0.0;
    } else if (share(engine) < how.strange) {
      const double kind = share(engine);
      value = kind < 0.4 ? std::nan("") : kind < 0.7 ? INFINITY : -INFINITY;
    }
  }
  return values;
}

inline std::uint16_t float16_bits(float value) {
  // Through float32's bits: exact for the exponents of the cases, rounded towards zero.
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000U;
  if (std::isnan(value)) {
    return static_cast<std::uint16_t>(sign | 0x7E00U);
  }
  const int exponent = static_cast<int>((bits >> 23) & 0xFFU) - 127;
  if (exponent > 15) {
    return static_cast<std::uint16_t>(sign | 0x7C00U);
  }
  if (exponent < -14) {
    const auto steps = static_cast<std::uint32_t>(std::abs(std::ldexp(value, 24)));
    return static_cast<std::uint16_t>(sign | steps);
  }
  return static_cast<std::uint16_t>(sign | (static_cast<std::uint32_t>(exponent + 15) << 10) | ((bits >> 13) & 0x3FFU));
}

inline std::vector<std::byte> stored_as(const std::vector<double>& values, Element type) {
  std::vector<std::byte> bytes;
  const auto put = [&bytes](auto value) {
    const auto* from = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), from, from + sizeof value);
  };
  for (const double value : values) {
    const auto narrow = static_cast<float>(value);
    switch (type) {
      case Element::float32:
        put(narrow);
        break;
      case Element::float64:
        put(value);
        break;
      case Element::float16:
        put(float16_bits(narrow));
        break;
      case Element::bfloat16:
        put(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(narrow) >> 16));
        break;
    }
  }
  return bytes;
}

}  // namespace gradwise::kernels
