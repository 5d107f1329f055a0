#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace gradwise {

static_assert(std::endian::native == std::endian::little, "the readers take this machine for little-endian");

/// Reverses the bytes of each of `count` elements of `width` bytes (1, 2, 4 or 8).
void swap_bytes(void* data, std::size_t count, std::size_t width);

/// Makes every byte that is not 0 a 1: a C++ bool that holds anything else is undefined behaviour.
void clean_booleans(void* data, std::size_t count);

/// Bytes of an array of `shape` with elements of `width` bytes; nothing where that does not fit into 63 bits or a
/// length is negative.
[[nodiscard]] std::optional<std::uint64_t> byte_size(std::span<const std::int64_t> shape, std::size_t width);

}  // namespace gradwise
