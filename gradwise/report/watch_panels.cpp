#include "gradwise/report/watch_panels.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "gradwise/plot/script_text.h"
#include "gradwise/plot/vector_panels.h"
#include "gradwise/report/watched_run.h"

namespace gradwise {
namespace {

constexpr std::size_t kMostRidges = 24;
constexpr std::size_t kMostHistograms = 4;
constexpr double kOverlap = 2.5;  // rows that a ridge reaches over
constexpr int kBins = 32;
constexpr int kLeastPower = -26;  // bin b holds 2^(b-26) <= |g| < 2^(b-25)

std::string over_steps(const std::vector<double>& steps) {
  return "set xlabel 'optimizer step'\nset xrange [0:" + gnuplot_number(steps.back()) + "]\n";
}

// Between ranks on a straight line, as NumPy does (Hyndman and Fan, 1996, type 7).
double quantile_of(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const double next = sorted[std::min(below + 1, sorted.size() - 1)];
  return sorted[below] + (place - static_cast<double>(below)) * (next - sorted[below]);
}

// Magnitudes of both signs together, as shares of all elements.
std::vector<double> magnitudes(const MagnitudeHistogram& counts) {
  std::vector<double> shares(kBins, 0);
  double all = 0;
  for (int b = 0; b < kBins; ++b) {
    shares[static_cast<std::size_t>(b)] = static_cast<double>(counts[static_cast<std::size_t>(b)]) +
                                          static_cast<double>(counts[static_cast<std::size_t>(b + kBins)]);
    all += shares[static_cast<std::size_t>(b)];
  }
  for (double& share : shares) {
    share = all > 0 ? share / all : 0;
  }
  return shares;
}

// One histogram above the other, the oldest at the bottom.
Panel ridge_panel(const ParameterFacts& facts, const std::vector<const StepReading*>& readings, std::size_t parameter) {
  const std::vector<std::size_t> chosen = evenly_chosen(readings.size(), kMostRidges);
  std::vector<std::vector<double>> rows(kBins);
  int first = kBins;
  int last = 0;
  for (int b = 0; b < kBins; ++b) {
    rows[static_cast<std::size_t>(b)].push_back(b + kLeastPower + 0.5);
  }
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const std::vector<double> shares = magnitudes(readings[chosen[i]]->histograms[parameter]);
    const double peak = std::max(1e-9, *std::ranges::max_element(shares));
    for (int b = 0; b < kBins; ++b) {
      const double share = shares[static_cast<std::size_t>(b)];
      rows[static_cast<std::size_t>(b)].push_back(static_cast<double>(i) + kOverlap * share / peak);
      first = share > 3e-3 ? std::min(first, b) : first;
      last = share > 3e-3 ? std::max(last, b) : last;
    }
  }
  std::string text = data_block("ridges", rows);
  std::string ticks;
  for (const std::size_t i : evenly_chosen(chosen.size(), 6)) {
    ticks += (ticks.empty() ? "'" : ", '") + std::to_string(readings[chosen[i]]->step) + "' " + std::to_string(i);
  }
  text += "set ytics (" + ticks +
          ")\nset ylabel 'optimizer step'\n"
          "set xlabel 'log2 |gradient element|; height: share of the elements'\nset rmargin 4\n";
  text += "set xrange [" + std::to_string(first + kLeastPower - 1) + ":" + std::to_string(last + kLeastPower + 2) +
          "]\nset yrange [0:" + gnuplot_number(static_cast<double>(chosen.size() - 1) + 1.2 * kOverlap) + "]\nplot ";
  for (std::size_t i = chosen.size(); i > 0; --i) {  // from the back to the front
    const std::string column = std::to_string(i + 1);
    const double age = chosen.size() > 1 ? static_cast<double>(i - 1) / static_cast<double>(chosen.size() - 1) : 0;
    text += (i < chosen.size() ? ", " : "") + std::string("$ridges using 1:") + column +
            " with filledcurves y1=" + std::to_string(i - 1) + " fs transparent solid 0.75 fc rgb '" +
            ordered_colour(age) + "' notitle, $ridges using 1:" + column + " with lines lw 1 lc rgb '#444444' notitle";
  }
  return {"Gradient magnitudes over time: " + facts.name, text, 1.5};
}

std::vector<std::size_t> largest_first(const WatchedRun& run) {
  std::vector<std::size_t> order = run.weights;
  std::ranges::stable_sort(order, [&run](std::size_t a, std::size_t b) {
    return run.parameters[a].elements() > run.parameters[b].elements();
  });
  return order;
}

// Shares over the steps, a line for each activation that has them.
Panel share_panel(const std::string& title, const std::string& axis, const std::vector<NamedLine>& lines,
                  const std::vector<double>& steps) {
  std::vector<std::vector<double>> table(steps.size());
  for (std::size_t s = 0; s < steps.size(); ++s) {
    table[s].push_back(steps[s]);
    for (const auto& [name, values] : lines) {
      table[s].push_back(100 * values[s]);
    }
  }
  std::string text = data_block("shares", table) + over_steps(steps) + "set yrange [0:100]\nset ylabel " +
                     gnuplot_word(axis) + "\nplot ";
  std::size_t column = 2;
  for (const auto& [name, values] : lines) {
    text += (column > 2 ? ", " : "") + plotted_line("shares", table, column, line_colour(column - 2), name);
    ++column;
  }
  return {title, text, 1.1};
}

// In the order of the forward pass.
std::vector<NamedLine> share_lines(const std::vector<std::shared_ptr<const StepReading>>& readings,
                                   double ActivationReading::* member) {
  constexpr std::size_t kMostShareLines = 14;
  std::vector<NamedLine> lines;
  for (std::size_t s = 0; s < readings.size(); ++s) {
    for (const ActivationReading& activation : readings[s]->activations) {
      const std::string name = activation.op + " after " + (activation.layer.empty() ? "?" : activation.layer);
      auto line = std::ranges::find(lines, name, &NamedLine::name);
      if (std::isnan(activation.*member) || (line == lines.end() && lines.size() >= kMostShareLines)) {
        continue;
      }
      if (line == lines.end()) {
        line = lines.insert(line, {name, std::vector<double>(readings.size(), kNotMeasured)});
      }
      line->values[s] = std::fmax(line->values[s], activation.*member);
    }
  }
  return lines;
}

// Ticks of a logarithmic axis at 1, 2 and 5 of each decade where those are few; gnuplot labels decades alone.
std::string narrow_decades(const std::vector<double>& values) {
  double least = INFINITY;
  double most = 0;
  for (const double value : values) {
    if (value > 0 && std::isfinite(value)) {
      least = std::min(least, value);
      most = std::max(most, value);
    }
  }
  if (most == 0 || most >= 1000 * least) {
    return "";
  }
  std::vector<double> ticks;  // from the last one below to the first one above
  for (double decade = std::floor(std::log10(least)); ticks.empty() || ticks.back() <= most; ++decade) {
    for (const double digit : {1, 2, 5}) {
      const double tick = digit * std::pow(10, decade);
      if (tick < least) {
        ticks = {tick};
      } else if (ticks.empty() || ticks.back() <= most) {
        ticks.push_back(tick);
      }
    }
  }
  std::string text;
  for (const double tick : ticks) {
    text += (text.empty() ? "" : ", ") + gnuplot_number(tick);
  }
  return "set ytics (" + text + ")\nset yrange [" + gnuplot_number(ticks.front()) + ":" + gnuplot_number(ticks.back()) +
         "]\n";
}

}  // namespace

std::vector<Panel> angle_panels(const RunReader& reader) {
  const WatchedRun run = watched_run(reader);
  std::vector<std::vector<double>> table;
  for (const auto& reading : run.readings) {
    std::vector<double> cosines;
    for (const std::size_t i : run.weights) {
      if (i < reading->parameters.size() && std::isfinite(reading->parameters[i].grad_cosine)) {
        cosines.push_back(reading->parameters[i].grad_cosine);
      }
    }
    if (!cosines.empty()) {
      std::ranges::sort(cosines);
      table.push_back({static_cast<double>(reading->step), quantile_of(cosines, 0.25), quantile_of(cosines, 0.5),
                       quantile_of(cosines, 0.75), cosines.front(), cosines.back()});
    }
  }
  if (table.empty()) {
    return {};
  }
  return {{"Angle: cosine of each weight's gradient with the one of the step before",
           data_block("angles", table) + over_steps(run.steps()) +
               "set yrange [-1:1]\nset ylabel 'cosine'\nset xzeroaxis lt 1 lc rgb '#666666'\n"
               "plot $angles using 1:2:4 with filledcurves fs transparent solid 0.35 fc rgb '" +
               colour::kSky + "' title 'middle half of the weights', " +
               plotted_line("angles", table, 3, colour::kBlue, "median weight") + ", " +
               plotted_line("angles", table, 5, colour::kVermilion, "least", "lw 1.5 dt 2") + ", " +
               plotted_line("angles", table, 6, colour::kGreen, "greatest", "lw 1.5 dt 2"),
           1.2}};
}

std::vector<Panel> histogram_panels(const RunReader& reader) {
  const auto readings = reader.readings();
  std::vector<const StepReading*> with_histograms;
  for (const auto& reading : readings) {
    if (!reading->histograms.empty()) {
      with_histograms.push_back(reading.get());
    }
  }
  if (with_histograms.empty()) {
    return {};
  }
  const WatchedRun run = watched_run(reader);
  std::vector<Panel> panels;
  for (const std::size_t i : largest_first(run)) {
    const bool counted = std::ranges::all_of(
        with_histograms, [i](const StepReading* reading) { return i < reading->histograms.size(); });
    if (counted && panels.size() < kMostHistograms) {
      panels.push_back(ridge_panel(run.parameters[i], with_histograms, i));
    }
  }
  return panels;
}

std::vector<Panel> activation_panels(const RunReader& reader) {
  std::vector<std::shared_ptr<const StepReading>> readings;
  for (const auto& reading : watched_run(reader).readings) {
    if (!reading->activations.empty()) {
      readings.push_back(reading);
    }
  }
  std::vector<double> steps;
  for (const auto& reading : readings) {
    steps.push_back(static_cast<double>(reading->step));
  }
  std::vector<Panel> panels;
  if (const auto dead = share_lines(readings, &ActivationReading::dead); !dead.empty()) {
    panels.push_back(share_panel("Dead units: no sample activates them", "dead units (%)", dead, steps));
  }
  if (const auto saturated = share_lines(readings, &ActivationReading::saturated); !saturated.empty()) {
    panels.push_back(share_panel("Saturation", "saturated outputs (%)", saturated, steps));
  }
  return panels;
}

std::vector<Panel> noise_panels(const RunReader& reader) {
  std::map<std::int64_t, double> samples;
  for (const StepInfo& step : reader.steps()) {
    samples[step.step] = static_cast<double>(step.samples);
  }
  std::vector<std::vector<double>> table;
  std::vector<double> drawn;
  for (const auto& reading : watched_run(reader).readings) {
    if (reading->noise_scale > 0) {
      table.push_back({static_cast<double>(reading->step), reading->noise_scale, samples[reading->step]});
      drawn.insert(drawn.end(), table.back().begin() + 1, table.back().end());
    }
  }
  if (table.empty()) {
    return {};
  }
  return {{"Gradient noise scale: the batch size beyond which more samples help little",
           data_block("noise", table) + "set xlabel 'optimizer step'\nset logscale y\n" + narrow_decades(drawn) +
               "set ylabel 'samples'\nplot " + plotted_line("noise", table, 2, colour::kBlue, "noise scale") + ", " +
               plotted_line("noise", table, 3, colour::kVermilion, "batch size")}};
}

}  // namespace gradwise
