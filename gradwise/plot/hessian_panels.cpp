#include "gradwise/plot/hessian_panels.h"

#include <algorithm>

#include "gradwise/plot/script_text.h"
#include "gradwise/plot/vector_panels.h"

namespace gradwise {
namespace {

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
