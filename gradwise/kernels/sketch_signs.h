#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "gradwise/kernels/mixed_bits.h"
#include "gradwise/kernels/sketch.h"

/// The signs of a sketch: a table of random ones, which each block of 1,024 elements reads from a place of its own,
/// some of them turned round.
namespace gradwise::kernels {

/// A bit for each element, set where its sign is flipped; twice over, so that a block may begin anywhere in the first
/// half. Eight bytes more, for reads of 64 bits.
using SignBits = std::array<std::uint8_t, 2 * kSketchSize / 8 + 8>;
/// Vectors read their bits from whole bytes: a table that begins at each bit of a byte.
using SignTables = std::array<SignBits, 8>;

constexpr SignTables make_sign_tables(bool turned) {
  std::array<bool, kSketchSize> signs{};
  for (std::size_t i = 0; i < signs.size(); ++i) {
    signs[i] = (mixed(0x9E3779B9U + static_cast<std::uint32_t>(i)) >> 31) != 0;
  }
  SignTables tables{};
  for (std::size_t shift = 0; shift < tables.size(); ++shift) {
    for (std::size_t i = 0; i < tables[shift].size() * 8; ++i) {
      const unsigned int bit = signs[(i + shift) % kSketchSize] != turned ? 1 : 0;
      tables[shift][i / 8] |= static_cast<std::uint8_t>(bit << (i % 8));
    }
  }
  return tables;
}

inline constexpr SignTables kSignTables[] = {make_sign_tables(false), make_sign_tables(true)};

/// The signs of one block.
class BlockSigns {
 public:
  explicit BlockSigns(std::size_t block) {
    const std::uint32_t hash = mixed(static_cast<std::uint32_t>(block) + 0x51ED270BU);
    tables_ = &kSignTables[hash >> 31];
    begin_ = hash % kSketchSize;
  }

  /// Bits from element `i` of the block on, the lowest of a byte first.
  [[nodiscard]] const std::uint8_t* bits_from(std::size_t i) const {
    return (*tables_)[(begin_ + i) % 8].data() + (begin_ + i) / 8;
  }
  [[nodiscard]] float applied(std::size_t i, float x) const { return (*bits_from(i) & 1) != 0 ? -x : x; }

 private:
  const SignTables* tables_;
  std::size_t begin_;
};

}  // namespace gradwise::kernels
