#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/config/run_config.h"

namespace gradwise {

/// What a command looks at: a configuration, or a run with the newest checkpoint that stands.
struct Subject {
  std::filesystem::path config;
  std::filesystem::path checkpoint;  ///< empty: there is none, the weights are fresh
  std::filesystem::path run;         ///< empty for a configuration
};

/// From the path of a configuration, or a run's folder or name.
[[nodiscard]] Subject subject_named(const std::string& name);

/// Its configuration with overrides, checked, with paths from the configuration's folder.
[[nodiscard]] RunConfig config_of(const Subject& subject, const std::vector<std::string>& overrides);

}  // namespace gradwise
