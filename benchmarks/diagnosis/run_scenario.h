#pragma once

#include <nlohmann/json.hpp>

#include "benchmarks/diagnosis/fault.h"

namespace gradwise::bench {

/// Trains the program under watch and tells what came of it and what was said of it: `losses` (first and last),
/// `test_loss`, `test_accuracy`, `findings` (cause, layer, step, confidence) and, of the peers' rules on the same
/// readings, `sagemaker` and `autotrainer` (rule -> step at which it first spoke).
[[nodiscard]] nlohmann::json run_scenario(Program program);

}  // namespace gradwise::bench
