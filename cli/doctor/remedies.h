#pragma once

#include <string>
#include <vector>

#include "cli/config/run_config.h"
#include "gradwise/core/finding.h"

namespace gradwise {

/// A change of the configuration that may cure a cause.
struct Remedy {
  std::string text;                    ///< as "learning rate 0.1 -> 0.01"
  std::vector<std::string> overrides;  ///< as `--set` takes them
};

/// What can be tried against a cause by configuration alone, most promising first; empty where only the program or the
/// data can be mended.
[[nodiscard]] std::vector<Remedy> remedies_for(const std::string& cause, const RunConfig& config);

}  // namespace gradwise
