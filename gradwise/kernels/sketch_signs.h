#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "gradwise/kernels/mixed_bits.h"
#include "gradwise/kernels/sketch.h"

/// The signs of a sketch: a table of random ones, which each block of 1,024 elements reads from a place of its own.
namespace gradwise::kernels {

/// Bits to flip: the sign or nothing. Written out twice, so that a block may begin anywhere in the first half.
using SignTable = std::array<std::uint32_t, 2 * kSketchSize>;

constexpr SignTable make_sign_table() {
  SignTable table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] = mixed(0x9E3779B9U + static_cast<std::uint32_t>(i % kSketchSize)) & 0x80000000U;
  }
  return table;
}

inline constexpr SignTable kSigns = make_sign_table();

/// Where a block reads the table, and the sign of the whole block.
struct BlockSigns {
  const std::uint32_t* signs;
  std::uint32_t whole;
};

inline BlockSigns signs_of_block(std::size_t block) {
  const std::uint32_t hash = mixed(static_cast<std::uint32_t>(block) + 0x51ED270BU);
  return {kSigns.data() + hash % kSketchSize, hash & 0x80000000U};
}

inline float with_sign(float x, std::uint32_t flip) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) ^ flip);
}

}  // namespace gradwise::kernels
