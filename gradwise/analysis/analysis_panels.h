#pragma once

#include <vector>

#include "gradwise/analysis/gradient_analysis.h"
#include "gradwise/plot/canvas.h"

namespace gradwise {

/// Pictures of an analysis: norms by layer, flow, micro-batch and class cosines, layers' cosines, curvature; those
/// that it holds.
[[nodiscard]] std::vector<Panel> analysis_panels(const GradientAnalysis& analysis);

}  // namespace gradwise
