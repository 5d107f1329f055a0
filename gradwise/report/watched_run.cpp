#include "gradwise/report/watched_run.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "gradwise/plot/script_text.h"

namespace gradwise {
namespace {

constexpr std::size_t kMostWeights = 40;
constexpr std::size_t kMostReadings = 300;

}  // namespace

std::vector<std::size_t> evenly_chosen(std::size_t count, std::size_t most) {
  std::vector<std::size_t> chosen;
  if (count <= most) {
    for (std::size_t i = 0; i < count; ++i) {
      chosen.push_back(i);
    }
    return chosen;
  }
  for (std::size_t i = 0; i < most; ++i) {
    chosen.push_back(i * (count - 1) / (most - 1));
  }
  return chosen;
}

std::vector<std::string> WatchedRun::weight_names() const {
  std::vector<std::string> names;
  for (const std::size_t i : weights) {
    names.push_back(parameters[i].name);
  }
  return names;
}

std::string WatchedRun::shown_of_all(std::size_t shown) const {
  return shown < all_weights ? ", " + std::to_string(shown) + " of " + std::to_string(all_weights) : "";
}

std::vector<double> WatchedRun::figure(std::size_t parameter, double ParameterReading::* member) const {
  std::vector<double> values;
  for (const auto& reading : readings) {
    values.push_back(parameter < reading->parameters.size() ? reading->parameters[parameter].*member : kNotMeasured);
  }
  return values;
}

std::vector<double> WatchedRun::steps() const {
  std::vector<double> values;
  for (const auto& reading : readings) {
    values.push_back(static_cast<double>(reading->step));
  }
  return values;
}

WatchedRun watched_run(const RunReader& run) {
  WatchedRun watched;
  watched.parameters = run.parameters();
  std::vector<std::size_t> matrices;
  std::vector<std::size_t> trainable;
  for (std::size_t i = 0; i < watched.parameters.size(); ++i) {
    if (watched.parameters[i].trainable) {
      trainable.push_back(i);
      if (watched.parameters[i].shape.size() >= 2) {
        matrices.push_back(i);
      }
    }
  }
  const std::vector<std::size_t>& shown = matrices.empty() ? trainable : matrices;
  watched.all_weights = shown.size();
  for (const std::size_t i : evenly_chosen(shown.size(), kMostWeights)) {
    watched.weights.push_back(shown[i]);
  }
  const auto all = run.readings();
  for (const std::size_t i : evenly_chosen(all.size(), kMostReadings)) {
    watched.readings.push_back(all[i]);
  }
  return watched;
}

std::string heat_map(const std::vector<std::string>& names, const std::vector<double>& steps,
                     const std::vector<std::vector<double>>& rows, const std::string& unit, bool logarithmic) {
  // Boxes from half way to the step before to half way to the next: steps need not lie evenly.
  std::vector<std::vector<double>> cells;
  double least = std::numeric_limits<double>::infinity();
  double most = 0;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const double gap = steps.size() > 1 ? (i > 0 ? steps[i] - steps[i - 1] : steps[1] - steps[0]) : 1;
      const double left = i > 0 ? 0.5 * (steps[i - 1] + steps[i]) : steps[i] - 0.5 * gap;
      const double right = i + 1 < steps.size() ? 0.5 * (steps[i] + steps[i + 1]) : steps[i] + 0.5 * gap;
      const double value = rows[row][i];
      if (std::isfinite(value) && (!logarithmic || value > 0)) {
        const auto y = static_cast<double>(row);
        least = std::min(least, value);
        most = std::max(most, value);
        cells.push_back({steps[i], y, left, right, y - 0.5, y + 0.5, value});
      }
    }
  }
  // Whole decades: gnuplot's own range for a single reading begins below zero.
  std::string colours;
  if (logarithmic && most > 0) {
    const auto low = static_cast<int>(std::floor(std::log10(least)));
    const int high = std::max(low + 1, static_cast<int>(std::ceil(std::log10(most))));
    colours = "set logscale cb\nset format cb '10^{%T}'\nset cbrange [1e" + std::to_string(low) + ":1e" +
              std::to_string(high) + "]\n";
  }
  const std::string count = std::to_string(names.size());
  return data_block("cells", cells) + heat_palette() + name_ticks("y", names) + "set yrange [" + count +
         "-0.5:-0.5]\nset xlabel 'optimizer step'\nunset grid\n" + kStepMargins + "set cblabel " + gnuplot_word(unit) +
         "\n" + colours + (steps.empty() ? "" : "set xrange [0:" + gnuplot_number(steps.back()) + "]\n") +
         "plot $cells using 1:2:3:4:5:6:7 with boxxyerror fs solid noborder lc palette notitle";
}

}  // namespace gradwise
