#include "gradwise/plot/hessian_panels.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "gradwise/plot/script_text.h"
#include "gradwise/plot/vector_panels.h"

namespace gradwise {
namespace {

double number_or_nan(const nlohmann::json& value) { return value.is_null() ? std::nan("") : value.get<double>(); }

double number_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? std::nan("") : number_or_nan(*found);
}

NamedFigure figure_of(const nlohmann::json& object, const std::string& name, const char* value, const char* error) {
  return {name, number_of(object, value), number_of(object, error)};
}

Panel bars_with_errors(const std::string& title, const std::string& axis, const std::vector<NamedFigure>& figures) {
  std::vector<std::string> names;
  std::vector<double> values;
  std::vector<double> errors;
  for (const NamedFigure& figure : figures) {
    names.push_back(figure.name);
    values.push_back(figure.value);
    errors.push_back(figure.error);
  }
  Panel panel = bar_panel(title, axis, names, values, errors);
  panel.height = 1.2;
  return panel;
}

// One bar from 0, with the threshold as a line across it.
Panel edge_panel(const HessianFigures& figures) {
  const NamedFigure& edge = figures.edge;
  const double threshold = figures.edge_threshold;
  const std::string line = gnuplot_number(threshold);
  const double end = 1.2 * std::max(threshold, edge.value + edge.error);
  const double start = std::min(0.0, 1.2 * (edge.value - edge.error));
  return {"Edge of stability: beyond the line steps grow",
          data_block("edge", {{edge.value, 0, edge.error}}) +
              data_block("line", {{threshold, -0.6}, {threshold, 0.6}}) + name_ticks("y", {edge.name}) +
              "set yrange [-0.8:0.8]\nset xrange [" + gnuplot_number(start) + ":" + gnuplot_number(end) +
              "]\nset lmargin 26\nset xlabel 'learning rate x largest eigenvalue" +
              (figures.edge_preconditioned ? " of the preconditioned Hessian" : "") +
              "'\nset style fill solid 0.9\n"
              "plot $edge using (0.5*$1):2:(0.5*abs($1)):(0.3) with boxxyerror lc rgb '" +
              colour::kBlue + "' notitle, $edge using 1:2:3 with xerrorbars pt 7 ps 0.4 lw 1.5 lc rgb '" +
              colour::kBlack + "' notitle, " + "$line using 1:2 with lines dt 2 lw 2 lc rgb '" + colour::kVermilion +
              "' title 'edge at " + line + "'",
          0.7};
}

}  // namespace

HessianFigures hessian_figures(const nlohmann::json& hessian) {
  HessianFigures figures;
  if (hessian.at("eigenvalues").empty()) {
    return figures;
  }
  figures.largest.push_back({kWholeNetwork, number_or_nan(hessian.at("eigenvalues").at(0)),
                             number_or_nan(hessian.at("eigenvalue_errors").at(0))});
  figures.traces.push_back(figure_of(hessian, kWholeNetwork, "trace", "trace_error"));
  for (const nlohmann::json& layer : hessian.value("layers", nlohmann::json::array())) {
    const auto name = layer.at("name").get<std::string>();
    figures.largest.push_back(figure_of(layer, name, "largest", "largest_error"));
    figures.traces.push_back(figure_of(layer, name, "trace", "trace_error"));
  }
  for (const nlohmann::json& point : hessian.at("density")) {
    figures.density.emplace_back(number_or_nan(point.at(0)), number_or_nan(point.at(1)));
  }
  for (const nlohmann::json& error : hessian.value("density_errors", nlohmann::json::array())) {
    figures.density_errors.push_back(number_or_nan(error));
  }
  const nlohmann::json edge = hessian.value("edge_of_stability", nlohmann::json::object());
  figures.edge = figure_of(edge, edge.value("optimizer", std::string()), "value", "error");
  figures.edge_threshold = number_of(edge, "threshold");
  figures.edge_preconditioned = edge.value("preconditioned", false);
  return figures;
}

std::vector<Panel> hessian_panels(const HessianFigures& figures) {
  std::vector<Panel> panels;
  if (!figures.largest.empty()) {
    panels.push_back(bars_with_errors("Sharpness: largest eigenvalue of the Hessian, and of each layer's block",
                                      "largest eigenvalue (bar: residual)", figures.largest));
  }
  if (!figures.traces.empty()) {
    panels.push_back(bars_with_errors("Trace of the Hessian, and of each layer's block",
                                      "trace (bar: one standard error)", figures.traces));
  }
  if (!figures.density.empty()) {
    panels.push_back(spectrum_panel("Spectral density of the Hessian", figures.density, figures.density_errors));
  }
  // A learning rate of 0 says nothing of the curvature.
  if (std::isfinite(figures.edge.value) && figures.edge.value != 0 && std::isfinite(figures.edge_threshold)) {
    panels.push_back(edge_panel(figures));
  }
  return panels;
}

}  // namespace gradwise
