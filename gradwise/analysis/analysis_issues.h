#pragma once

#include <vector>

#include "gradwise/analysis/gradient_analysis.h"

namespace gradwise {

/// What is wrong with the gradients of one analysis: the rules on gradients and activations (rules/), held against it
/// as if a training showed it steadily, and the two thresholds of the configuration. `step` goes into the issues.
[[nodiscard]] std::vector<Issue> issues_of(const GradientAnalysis& analysis, const GradientAnalysisConfig& config,
                                           std::int64_t step);

}  // namespace gradwise
