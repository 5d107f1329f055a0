#pragma once

#include "cli/data/datasets.h"
#include "gradwise/core/reading.h"

namespace gradwise {

/// What a configuration and its data say of a training before it begins; without the parameters.
[[nodiscard]] RunFacts run_facts(const RunConfig& config, const RunData& data);

/// Optimizer steps in an epoch.
[[nodiscard]] std::int64_t steps_per_epoch(const RunConfig& config, const DataLoader& loader);

}  // namespace gradwise
