#pragma once

#include <cstdint>

namespace gradwise::kernels {

/// The finaliser of MurmurHash3 (Appleby), a good mixer of 32 bits.
constexpr std::uint32_t mixed(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x85EBCA6BU;
  x ^= x >> 13;
  x *= 0xC2B2AE35U;
  x ^= x >> 16;
  return x;
}

}  // namespace gradwise::kernels
