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
  std::string needs = "";  ///< the key or command that makes the run hold them; "" for what runs hold anyway
  /// What shows them where the run has no configuration to work on, as a program of its own has recorded it; "" where
  /// `needs` does.
  std::string needs_in_program = "";
};

/// All of them: training, norms, flow, updates, angles, histograms, activations, noise, hessian,
/// memory.
[[nodiscard]] const std::vector<Figure>& figures();
/// One by its name; an Error with the nearest known name where there is none.
[[nodiscard]] const Figure& figure_named(const std::string& name);

/// Says that a run holds nothing to make the figure of, and what it takes.
[[nodiscard]] std::string nothing_of(const Figure& figure, const RunReader& run);

/// Draws one figure with the run's name as title. Where the run holds nothing of the kind, the status says so.
[[nodiscard]] PlotStatus plot_figure(const Figure& figure, const RunReader& run, const std::filesystem::path& path);

/// Loss with the issues marked, gradient norm and learning rate over the steps.
[[nodiscard]] PlotStatus plot_training(const RunReader& run, const std::filesystem::path& path);

}  // namespace gradwise
