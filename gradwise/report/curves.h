#pragma once

#include <filesystem>
#include <string>

#include "gradwise/record/run_reader.h"

namespace gradwise {

struct PlotStatus {
  bool drawn = false;
  std::string reason;  ///< why not
};

/// Draws loss, gradient norm and learning rate over the steps with the program gnuplot; PNG, SVG or PDF by the path's
/// extension, 1200 pixels wide. Where gnuplot is missing or refuses, the status says so.
[[nodiscard]] PlotStatus plot_training(const RunReader& run, const std::filesystem::path& path);

}  // namespace gradwise
