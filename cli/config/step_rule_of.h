#pragma once

#include "gradwise/analysis/step_rule.h"
#include "gradwise/optim/autograd_optimizer.h"

namespace gradwise {

/// The optimizer's next step as linear stability sees it, from its rates and moments as they stand: of sgd, adam and
/// adamw; for others the rule says that it is not known.
[[nodiscard]] StepRule step_rule_of(const OptimizerOptions& options, AutogradOptimizer& optimizer);

}  // namespace gradwise
