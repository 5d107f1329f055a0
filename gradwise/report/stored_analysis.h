#pragma once

#include <vector>

#include "gradwise/plot/canvas.h"
#include "gradwise/record/run_reader.h"

namespace gradwise {

/// The file in a run's folder that `gradwise analyze` leaves its figures in.
inline constexpr const char* kAnalysisFile = "gradient_analysis.json";

/// The Hessian of the analysis that lies in the run's folder, with the step that it was made at; none where there is
/// none, or none with a Hessian. Error: a file that is no analysis.
[[nodiscard]] std::vector<Panel> stored_hessian_panels(const RunReader& run);

}  // namespace gradwise
