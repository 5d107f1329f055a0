#include "gradwise/report/stored_analysis.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gradwise/core/error.h"
#include "gradwise/plot/hessian_panels.h"

namespace gradwise {
namespace {

using nlohmann::json;

// An analysis has null for what is not finite, and an earlier version's lacks what came later.
double figure_from(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? std::nan("") : found->get<double>();
}

json part_of(const json& object, const char* key, const json& otherwise) {
  const auto found = object.find(key);
  return found == object.end() ? otherwise : *found;
}

HessianFigures figures_from(const json& hessian) {
  HessianFigures figures;
  if (hessian.at("eigenvalues").empty()) {
    return figures;
  }
  figures.largest.push_back({kWholeNetwork, hessian.at("eigenvalues").at(0).get<double>(),
                             hessian.at("eigenvalue_errors").at(0).get<double>()});
  figures.traces.push_back({kWholeNetwork, figure_from(hessian, "trace"), figure_from(hessian, "trace_error")});
  for (const json& layer : part_of(hessian, "layers", json::array())) {
    const auto name = layer.at("name").get<std::string>();
    figures.largest.push_back({name, figure_from(layer, "largest"), figure_from(layer, "largest_error")});
    figures.traces.push_back({name, figure_from(layer, "trace"), figure_from(layer, "trace_error")});
  }
  figures.density = hessian.at("density").get<std::vector<std::pair<double, double>>>();
  figures.density_errors = part_of(hessian, "density_errors", json::array()).get<std::vector<double>>();
  const json edge = part_of(hessian, "edge_of_stability", json::object());
  figures.edge = {edge.value("optimizer", std::string()), figure_from(edge, "value"), figure_from(edge, "error")};
  figures.edge_threshold = figure_from(edge, "threshold");
  figures.edge_preconditioned = edge.value("preconditioned", false);
  return figures;
}

}  // namespace

std::vector<Panel> stored_hessian_panels(const RunReader& run) {
  const std::filesystem::path path = run.folder() / kAnalysisFile;
  std::ifstream file(path);
  if (!file) {
    return {};
  }
  try {
    const json analysis = json::parse(file);
    std::vector<Panel> panels = hessian_panels(figures_from(analysis.at("hessian")));
    // The run may have gone on since.
    for (Panel& panel : panels) {
      panel.title += analysis.contains("step") ? ", at step " + analysis.at("step").dump() : "";
    }
    return panels;
  } catch (const json::exception& error) {
    fail("plot", path.string(), " is not an analysis of this version: ", error.what());
  }
}

}  // namespace gradwise
