#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/config/run_config.h"

namespace gradwise {

/// Reads a TOML file and lays `key=value` overrides over it. A value is TOML; a word that is none is taken as text.
/// Errors name file, line, key, value and what is allowed.
[[nodiscard]] RunConfig load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides);

}  // namespace gradwise
