#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

/// Entries of a scheduler's saved state. The readers throw an Error (failure) that names the entry where it is
/// missing, of another type or of another length.
namespace gradwise::detail {

[[nodiscard]] nlohmann::json write_number(double value);
[[nodiscard]] nlohmann::json write_numbers(const std::vector<double>& values);
[[nodiscard]] const nlohmann::json& read_entry(const nlohmann::json& state, const char* key);
[[nodiscard]] std::vector<double> read_numbers(const nlohmann::json& state, const char* key, std::size_t count);
[[nodiscard]] double read_number(const nlohmann::json& state, const char* key);
[[nodiscard]] std::int64_t read_integer(const nlohmann::json& state, const char* key);

}  // namespace gradwise::detail
