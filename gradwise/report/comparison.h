#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "gradwise/plot/canvas.h"
#include "gradwise/record/run_reader.h"

namespace gradwise {

/// Runs side by side, one a row, and the lines of their configurations that differ.
[[nodiscard]] std::string text_comparison(const std::vector<RunReader>& runs);

/// Their losses and validation figures over the steps, a colour a run.
[[nodiscard]] PlotStatus plot_comparison(const std::vector<RunReader>& runs, const std::filesystem::path& path);

}  // namespace gradwise
