#pragma once

#include <vector>

#include "gradwise/plot/canvas.h"
#include "gradwise/record/run_reader.h"

/// More pictures of a watched run; none where it holds nothing of the kind.
namespace gradwise {

/// Cosine of each weight's gradient with the one of the reading before: median and quartiles over the weights.
[[nodiscard]] std::vector<Panel> angle_panels(const RunReader& run);
/// Histograms of log2 |g| over time as a ridge plot, for the four largest weights that have some.
[[nodiscard]] std::vector<Panel> histogram_panels(const RunReader& run);
/// Shares of dead units (ReLU) and of saturated outputs (sigmoid, tanh) over the steps.
[[nodiscard]] std::vector<Panel> activation_panels(const RunReader& run);
/// Noise scale (McCandlish et al. 2018) over the steps, with the batch size.
[[nodiscard]] std::vector<Panel> noise_panels(const RunReader& run);

}  // namespace gradwise
