#pragma once

#include <string>

#include "cli/config/run_config.h"

namespace gradwise {

/// Every key of a configuration as TOML that reads back to the same values.
[[nodiscard]] std::string to_toml(const RunConfig& config);

/// A value as TOML writes it.
[[nodiscard]] std::string toml_value(bool value);
[[nodiscard]] std::string toml_value(std::int64_t value);
[[nodiscard]] std::string toml_value(double value);
[[nodiscard]] std::string toml_value(const std::string& value);
template <class T>
[[nodiscard]] std::string toml_value(const std::vector<T>& values) {
  std::string text;
  for (const T& value : values) {
    text += (text.empty() ? "" : ", ") + toml_value(value);
  }
  return "[" + text + "]";
}

}  // namespace gradwise
