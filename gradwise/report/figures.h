#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "gradwise/plot/canvas.h"
#include "gradwise/record/run_reader.h"

namespace gradwise {

/// A picture that can be made of a run.
struct Figure {
  std::string name;   ///< "norms"
  std::string about;  ///< one line
  /// Its diagrams; none where the run holds nothing of the kind.
  std::vector<Panel> (*panels)(const RunReader&);
};

/// All of them: training, norms, flow, updates, angles, histograms, activations, noise, hessian,
/// memory.
[[nodiscard]] const std::vector<Figure>& figures();
/// One by its name; an Error with the nearest known name where there is none.
[[nodiscard]] const Figure& figure_named(const std::string& name);

/// Draws one figure with the run's name as title. Where the run holds nothing of the kind, the status says so.
[[nodiscard]] PlotStatus plot_figure(const Figure& figure, const RunReader& run, const std::filesystem::path& path);

/// Loss with the issues marked, gradient norm and learning rate over the steps.
[[nodiscard]] PlotStatus plot_training(const RunReader& run, const std::filesystem::path& path);

}  // namespace gradwise
