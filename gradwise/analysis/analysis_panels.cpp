#include "gradwise/analysis/analysis_panels.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "gradwise/analysis/analysis_json.h"
#include "gradwise/plot/hessian_panels.h"
#include "gradwise/plot/vector_panels.h"

namespace gradwise {
namespace {

std::vector<std::string> numbered(const std::string& word, std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < count; ++i) {
    names.push_back(word + std::to_string(i));
  }
  return names;
}

std::size_t side_of(const std::vector<double>& matrix) {
  std::size_t side = 0;
  while (side * side < matrix.size()) {
    ++side;
  }
  return side;
}

}  // namespace

std::vector<Panel> analysis_panels(const GradientAnalysis& analysis) {
  std::vector<Panel> panels;
  if (!analysis.layers.empty()) {
    std::vector<std::string> names;
    std::vector<double> norms;
    for (const LayerGradient& layer : analysis.layers) {
      names.push_back(layer.name);
      norms.push_back(layer.norm);
    }
    Panel panel = bar_panel("Gradient norm by layer", "norm (L2)", names, norms);
    panel.height = 1.2;
    panels.push_back(std::move(panel));
  }
  if (analysis.flow.weights.size() > 1) {
    panels.push_back(depth_panel("Flow: gradients by depth, input on the left", "RMS of the gradient",
                                 analysis.flow.weights, {{"this batch", analysis.flow.rms}}));
  }
  if (const auto& cosines = analysis.correlation.micro_batches; !cosines.empty()) {
    panels.push_back(
        correlation_panel("Cosines between gradients of micro-batches", cosines, numbered("part ", side_of(cosines))));
  }
  if (!analysis.correlation.between_classes.empty()) {
    std::vector<std::string> names;
    for (const std::int64_t c : analysis.correlation.classes) {
      names.push_back("class " + std::to_string(c));
    }
    panels.push_back(
        correlation_panel("Cosines between gradients of classes", analysis.correlation.between_classes, names));
  }
  if (analysis.angles.layers.size() > 1) {
    std::vector<std::string> names;
    for (const auto& [name, angle] : analysis.angles.layers) {
      names.push_back(name);
    }
    panels.push_back(correlation_panel("Cosines between layers: do they learn from the same samples?",
                                       analysis.angles.between_layers, names));
  }
  for (Panel& panel : hessian_panels(hessian_figures(nlohmann::json(analysis.hessian)))) {
    panels.push_back(std::move(panel));
  }
  return panels;
}

}  // namespace gradwise
