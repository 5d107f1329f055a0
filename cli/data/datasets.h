#pragma once

#include <memory>

#include "cli/config/run_config.h"
#include "gradwise/data/loader.h"
#include "gradwise/data/target_scaling.h"

namespace gradwise {

/// The loaders of a configuration and what its model needs to know of the data.
struct RunData {
  std::unique_ptr<DataLoader> train;
  std::unique_ptr<DataLoader> test;  ///< null where there is nothing to test on
  ModelShape shape;
  TargetScaling target_scaling = {};  ///< what was done to the targets, see `data.standardize_targets`
};

/// Whether `data.standardize_targets` may be true: the targets are numbers, and the loss is a distance from them.
[[nodiscard]] bool can_standardize_targets(const RunConfig& config);

/// Reads the files of a configuration. Errors name file and fact.
[[nodiscard]] RunData load_data(const RunConfig& config);

}  // namespace gradwise
