#pragma once

#include <filesystem>
#include <string>

namespace gradwise {

/// A run by its folder, or by its name under runs/.
inline std::filesystem::path run_path(const std::string& run) {
  const std::filesystem::path named = std::filesystem::path("runs") / run;
  return !std::filesystem::exists(run) && std::filesystem::exists(named) ? named : std::filesystem::path(run);
}

}  // namespace gradwise
