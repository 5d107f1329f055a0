#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/config/run_config.h"
#include "gradwise/core/finding.h"

namespace gradwise {

/// What a short training under watch showed.
struct Trial {
  std::vector<Finding> findings;
  std::vector<double> losses;                   ///< one a step
  double held_out = kNotMeasured;               ///< loss on the test data, where there are any
  double held_out_in_own_units = kNotMeasured;  ///< the same of targets and outputs that are scaled back
  std::vector<std::pair<std::string, double>> metrics;
  std::string error;  ///< why it ended early; empty where it did not
  double seconds = 0;

  /// Mean loss of the last tenth of the steps; infinite where the training broke.
  [[nodiscard]] double final_loss() const;
  /// What trials are compared by: the loss on held-out data in their own units, else `final_loss`; infinite where it
  /// is not finite.
  [[nodiscard]] double figure() const;
};

/// Optimizer steps until the learning rate's warm-up is over, from the start or from a checkpoint.
[[nodiscard]] std::int64_t warmup_left(const RunConfig& config, const std::filesystem::path& checkpoint);

/// Trains for `steps` steps of the configuration's whole schedule, writes no file. With a checkpoint it goes on from
/// there. Errors of the configuration are thrown; those of the training are part of the result.
[[nodiscard]] Trial run_trial(const RunConfig& config, std::int64_t steps,
                              const std::filesystem::path& checkpoint = {});

}  // namespace gradwise
