#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gradwise {

/// A tensor in a safetensors file: its bytes lie from `begin` to `end`, counted from the end of the header.
struct SafeTensorsEntry {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct SafeTensorsHeader {
  std::vector<SafeTensorsEntry> entries;  ///< in the order of their data
  std::map<std::string, std::string> metadata;
};

inline constexpr std::uint64_t kLongestSafeTensorsHeader = 100'000'000;

/// Parses and checks the JSON header of `file`, whose data after the header are `data_bytes` long. Throws an Error of
/// kind failure that names file, tensor and fact.
[[nodiscard]] SafeTensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                                         const std::string& file);

/// The order and offsets that the reference gives: wide types first (so that all data are aligned), then by name.
/// Throws an Error for a tensor whose type the format does not know.
void lay_out(std::vector<SafeTensorsEntry>& entries);

/// The header as JSON, filled up with blanks to a multiple of 8 bytes.
[[nodiscard]] std::string format_safetensors_header(const SafeTensorsHeader& header);

}  // namespace gradwise
