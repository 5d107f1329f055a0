#pragma once

#include <string>
#include <vector>

#include "gradwise/analysis/gradient_analysis.h"
#include "gradwise/core/step_info.h"

namespace gradwise {

/// An analysis and its issues in lines of at most kReportWidth columns, sampled figures with their errors.
[[nodiscard]] std::string analysis_text(const GradientAnalysis& seen, const std::vector<Issue>& issues);

}  // namespace gradwise
