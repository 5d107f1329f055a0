#include "gradwise/report/layer_panels.h"

#include <algorithm>
#include <cmath>

#include "gradwise/plot/script_text.h"
#include "gradwise/plot/vector_panels.h"
#include "gradwise/report/watched_run.h"

namespace gradwise {
namespace {

constexpr std::size_t kMostLayerLines = 8;
constexpr std::size_t kFlowMoments = 5;

bool any_positive(const std::vector<std::vector<double>>& rows) {
  return std::ranges::any_of(rows, [](const std::vector<double>& row) {
    return std::ranges::any_of(row, [](double value) { return value > 0 && std::isfinite(value); });
  });
}

std::vector<std::vector<double>> weight_rows(const WatchedRun& run, double ParameterReading::* member) {
  std::vector<std::vector<double>> rows;
  for (const std::size_t i : run.weights) {
    rows.push_back(run.figure(i, member));
  }
  return rows;
}

double heat_height(std::size_t rows) { return std::clamp(0.5 + 0.06 * static_cast<double>(rows), 0.9, 2.6); }

std::string lines_of_all(const WatchedRun& run) {
  return run.shown_of_all(std::min(run.weights.size(), kMostLayerLines));
}

// A y axis for the rows that holds `low` to `high` as well.
std::string range_with(const std::vector<std::vector<double>>& rows, double low, double high) {
  for (const std::vector<double>& row : rows) {
    for (const double value : row) {
      if (value > 0 && std::isfinite(value)) {
        low = std::min(low, value);
        high = std::max(high, value);
      }
    }
  }
  return "set yrange [" + gnuplot_number(low) + ":" + gnuplot_number(high) + "]\n";
}

// Some of the rows as lines over the steps, on a logarithmic axis.
std::string layer_lines(const WatchedRun& run, const std::vector<std::vector<double>>& rows) {
  const std::vector<double> steps = run.steps();
  const std::vector<std::size_t> chosen = evenly_chosen(rows.size(), kMostLayerLines);
  std::vector<std::vector<double>> table(steps.size());
  for (std::size_t s = 0; s < steps.size(); ++s) {
    table[s].push_back(steps[s]);
    for (const std::size_t row : chosen) {
      table[s].push_back(rows[row][s] > 0 ? rows[row][s] : kNotMeasured);
    }
  }
  std::string text = data_block("lines", table) + kStepMargins + "set logscale y\nset format y '10^{%T}'\n" +
                     "set xlabel 'optimizer step'\nset xrange [0:" + gnuplot_number(steps.back()) + "]\nplot ";
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const double depth = chosen.size() > 1 ? static_cast<double>(i) / static_cast<double>(chosen.size() - 1) : 0.3;
    text += (i > 0 ? ", " : "") +
            plotted_line("lines", table, i + 2, ordered_colour(depth), run.parameters[run.weights[chosen[i]]].name);
  }
  return text;
}

}  // namespace

std::vector<Panel> norm_panels(const RunReader& reader) {
  const WatchedRun run = watched_run(reader);
  const auto rows = weight_rows(run, &ParameterReading::grad_norm);
  if (run.empty() || !any_positive(rows)) {
    return {};
  }
  return {{"Gradient norm by layer, first layer on top" + run.shown_of_all(rows.size()),
           heat_map(run.weight_names(), run.steps(), rows, "gradient norm (L2)", true), heat_height(rows.size())},
          {"Gradient norm by layer, dark to bright from the first to the last" + lines_of_all(run),
           "set ylabel 'gradient norm (L2)'\n" + layer_lines(run, rows), 1.2}};
}

std::vector<Panel> flow_panels(const RunReader& reader) {
  const WatchedRun run = watched_run(reader);
  if (run.empty()) {
    return {};
  }
  std::vector<NamedLine> lines;
  for (const std::size_t moment : evenly_chosen(run.readings.size(), kFlowMoments)) {
    NamedLine line{"step " + std::to_string(run.readings[moment]->step), {}};
    for (const std::size_t i : run.weights) {
      const std::vector<ParameterReading>& seen = run.readings[moment]->parameters;
      line.values.push_back(i < seen.size() ? seen[i].grad_norm / std::sqrt(run.parameters[i].elements())
                                            : kNotMeasured);
    }
    lines.push_back(std::move(line));
  }
  return {depth_panel("Flow: gradients by depth, input on the left", "RMS of the gradient", run.weight_names(), lines)};
}

std::vector<Panel> update_panels(const RunReader& reader) {
  const WatchedRun run = watched_run(reader);
  const auto rows = weight_rows(run, &ParameterReading::update_ratio);
  if (run.empty() || !any_positive(rows)) {
    return {};
  }
  const std::string band =
      "set object 1 rectangle from graph 0, first 1e-4 to graph 1, first 1e-2 fc rgb '#dff0e6' fs solid noborder "
      "behind\nset arrow 1 from graph 0, first 1e-3 to graph 1, first 1e-3 nohead dt 2 lc rgb '#009E73' back\n"
      "set ylabel 'update norm / weight norm'\n" +
      range_with(rows, 5e-5, 2e-2);
  return {
      {"Update-to-weight ratio by layer" + lines_of_all(run) + "; green: the usual band around 1e-3",
       band + layer_lines(run, rows), 1.3},
      {"Update-to-weight ratio by layer, first layer on top" + run.shown_of_all(rows.size()),
       heat_map(run.weight_names(), run.steps(), rows, "update norm / weight norm", true), heat_height(rows.size())}};
}

}  // namespace gradwise
