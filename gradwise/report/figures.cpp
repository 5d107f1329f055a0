#include "gradwise/report/figures.h"

#include "gradwise/core/error.h"
#include "gradwise/core/fields.h"
#include "gradwise/core/nearest_name.h"
#include "gradwise/report/layer_panels.h"
#include "gradwise/report/stored_analysis.h"
#include "gradwise/report/training_panels.h"
#include "gradwise/report/watch_panels.h"

namespace gradwise {

const std::vector<Figure>& figures() {
  static const std::vector<Figure> kAll = {
      {"training", "loss with the issues marked, gradient norm, learning rate", training_panels},
      {"norms", "gradient norms of the layers over the steps, as a heat map and as lines", norm_panels,
       "watch.gradients.every"},
      {"flow", "gradients by depth, from the start of the run to its end", flow_panels, "watch.gradients.every"},
      {"updates", "update-to-weight ratios of the layers, with the band to be in", update_panels,
       "watch.gradients.every"},
      {"angles", "cosine of each gradient with the one before", angle_panels, "watch.gradients.every"},
      {"histograms", "magnitudes of gradients over time", histogram_panels, "watch.gradients.histograms_every",
       "histograms_every, an option of the watch"},
      {"activations", "dead and saturated shares of the activations", activation_panels,
       "watch.activations_every and ReLU, sigmoid or tanh",
       "ReLU, sigmoid or tanh, and watch.observe(loss) before backward where the loop is your own in Python"},
      {"noise", "gradient noise scale beside the batch size", noise_panels,
       "some 20 steps whose gradients were read (watch.gradients.every) and whose samples are known"},
      {"hessian", "curvature by layer, spectral density and edge of stability, of gradwise analyze --hessian",
       stored_hessian_panels, "gradwise analyze RUN --hessian",
       "gradwise.GradientAnalyzer({\"compute_hessian\": True}).analyze_gradients(model, loss_function, x, y, "
       "optimizer=optimizer).plot(\"spectrum\") in Python, as the run has no configuration"},
      {"memory", "peak memory of each step", memory_panels, "train.measure_memory",
       "AutogradTrainingLoop and its option measure_memory"}};
  return kAll;
}

const Figure& figure_named(const std::string& name) {
  std::vector<std::string> known;
  for (const Figure& figure : figures()) {
    if (figure.name == name) {
      return figure;
    }
    known.push_back(figure.name);
  }
  fail_usage("plot", "there is no figure \"", name, "\"", did_you_mean(name, known),
             "; allowed: ", comma_separated(known));
}

std::string nothing_of(const Figure& figure, const RunReader& run) {
  const bool configured = std::filesystem::exists(run.folder() / "config.toml");
  const std::string& needs = configured || figure.needs_in_program.empty() ? figure.needs : figure.needs_in_program;
  return "the run holds nothing of this kind" + (needs.empty() ? "" : "; it takes " + needs);
}

PlotStatus plot_figure(const Figure& figure, const RunReader& run, const std::filesystem::path& path) {
  check_picture_path(path);
  const std::vector<Panel> panels = figure.panels(run);
  if (panels.empty()) {
    return {false, run.steps().empty() ? "the run has no step to draw yet" : nothing_of(figure, run)};
  }
  return draw(panels, run.info("name"), path);
}

PlotStatus plot_training(const RunReader& run, const std::filesystem::path& path) {
  return plot_figure(figure_named("training"), run, path);
}

}  // namespace gradwise
