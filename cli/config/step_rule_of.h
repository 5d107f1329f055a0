#pragma once

#include "gradwise/analysis/step_rule.h"
#include "gradwise/optim/autograd_optimizer.h"

namespace gradwise {

/// The optimizer's next step as linear stability sees it, from its rates and moments as they stand: of sgd, adam and
/// adamw; for others the rule says that it is not known. Where a schedule has the rates at 0 the rule is that of the
/// rates before any schedule, and its `optimizer` says so; where those are 0 too, it is not known.
[[nodiscard]] StepRule step_rule_of(const OptimizerOptions& options, AutogradOptimizer& optimizer);

}  // namespace gradwise
