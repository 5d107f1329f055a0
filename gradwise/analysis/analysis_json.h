#pragma once

#include <nlohmann/json_fwd.hpp>

#include "gradwise/analysis/gradient_analysis.h"

/// JSON of an analysis, under the names of its fields; what was not measured is null.
namespace gradwise {

void to_json(nlohmann::json& json, const GradientAnalysis& analysis);
void to_json(nlohmann::json& json, const HessianSummary& hessian);
void to_json(nlohmann::json& json, const GradientStatistics& statistics);
[[nodiscard]] nlohmann::json issue_json(const Issue& issue);

}  // namespace gradwise
