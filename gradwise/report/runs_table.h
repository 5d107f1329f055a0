#pragma once

#include <string>
#include <vector>

#include "gradwise/record/run_folder.h"

namespace gradwise {

/// The table that `gradwise runs` prints.
[[nodiscard]] std::string runs_table(const std::vector<RunSummary>& runs);

}  // namespace gradwise
