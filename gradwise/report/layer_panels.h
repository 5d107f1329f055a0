#pragma once

#include <vector>

#include "gradwise/plot/canvas.h"
#include "gradwise/record/run_reader.h"

/// Pictures of the layers of a watched run; none where it was not watched.
namespace gradwise {

/// Norms of the gradients (L2, before clipping) over the steps: a heat map of all weights, and at most eight as lines.
[[nodiscard]] std::vector<Panel> norm_panels(const RunReader& run);
/// Root mean square of each weight's gradient by depth, at five moments of the run.
[[nodiscard]] std::vector<Panel> flow_panels(const RunReader& run);
/// Length of each update over that of the weight, with the band 1e-4 to 1e-2 around the usual 1e-3.
[[nodiscard]] std::vector<Panel> update_panels(const RunReader& run);

}  // namespace gradwise
