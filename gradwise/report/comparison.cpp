#include "gradwise/report/comparison.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <set>

#include "gradwise/plot/script_text.h"
#include "gradwise/record/duration_text.h"
#include "gradwise/record/run_folder.h"
#include "gradwise/report/text_table.h"
#include "gradwise/report/training_panels.h"

namespace gradwise {
namespace {

std::string causes_of(const RunReader& run) {
  std::string text;
  for (const Finding& finding : run.findings()) {
    text += (text.empty() ? "" : ", ") + finding.cause;
  }
  return text.empty() ? "-" : text;
}

double samples_per_second(const RunReader& run) {
  double samples = 0;
  double seconds = 0;
  for (const StepInfo& step : run.steps()) {
    samples += static_cast<double>(step.samples);
    seconds += step.seconds.total;
  }
  return seconds > 0 ? samples / seconds : kNotMeasured;
}

double last_loss(const RunReader& run) {
  const std::vector<CurvePoint> curve = curve_of(run.steps());
  return curve.empty() ? kNotMeasured : curve.back().smooth_loss;
}

// "table.key" and value of each setting of the run's configuration: the resolved one, a setting a line.
std::map<std::string, std::string> settings_of(const RunReader& run) {
  std::map<std::string, std::string> settings;
  std::ifstream file(run.folder() / "config.toml");
  std::string table;
  for (std::string line; std::getline(file, line);) {
    const std::size_t equals = line.find(" = ");
    if (line.starts_with("[")) {
      table = line.substr(1, line.find(']') - 1) + ".";
    } else if (equals != std::string::npos && !line.starts_with("#")) {
      settings[table + line.substr(0, equals)] = line.substr(equals + 3);
    }
  }
  return settings;
}

std::string differences(const std::vector<RunReader>& runs, const std::vector<std::string>& names) {
  std::vector<std::map<std::string, std::string>> settings;
  std::set<std::string> keys;
  for (const RunReader& run : runs) {
    settings.push_back(settings_of(run));
    for (const auto& [key, value] : settings.back()) {
      keys.insert(key);
    }
  }
  if (keys.empty()) {
    return "\nNo settings are on record.\n";
  }
  std::vector<std::vector<std::string>> rows{{"setting"}};
  rows.front().insert(rows.front().end(), names.begin(), names.end());
  for (const std::string& key : keys) {
    std::vector<std::string> row{key};
    std::set<std::string> values;
    for (const auto& of_run : settings) {
      const auto found = of_run.find(key);
      row.push_back(found == of_run.end() ? "-" : found->second);
      values.insert(row.back());
    }
    if (values.size() > 1 && key != "run.dir" && key != "run.name") {
      rows.push_back(std::move(row));
    }
  }
  return rows.size() > 1 ? "\nSettings that differ\n\n" + text_table(rows) : "\nAll settings are the same.\n";
}

Panel overlay(const std::vector<std::vector<std::vector<double>>>& curves, const std::vector<std::string>& names,
              const std::string& title, const std::string& axis) {
  std::string text = "set xlabel 'optimizer step'\nset xrange [0:*]\nset ylabel " + gnuplot_word(axis) + "\n";
  std::vector<double> values;
  for (const auto& curve : curves) {
    for (const std::vector<double>& point : curve) {
      values.push_back(point[1]);
    }
  }
  text += ranges_widely(values) ? "set logscale y\n" : "";
  std::string plot = "plot ";
  for (std::size_t i = 0; i < curves.size(); ++i) {
    if (curves[i].empty()) {
      continue;
    }
    const std::string block = "run" + std::to_string(i);
    text += data_block(block, curves[i]);
    plot += (plot.size() > 5 ? ", " : "") + ("$" + block) + " using 1:2 with " +
            (curves[i].size() < 40 ? "linespoints pt 7 ps 0.6" : "lines") + " lw 2 lc rgb '" + line_colour(i) +
            "' title " + gnuplot_word(short_name(names[i]));
  }
  return {title, text + plot, 1.3};
}

std::vector<std::string> names_of(const std::vector<RunReader>& runs) {
  std::vector<std::string> names;
  for (const RunReader& run : runs) {
    names.push_back(summarize_run(run.folder()).name);
  }
  return names;
}

// Figures that a run was validated by, the loss among them.
std::set<std::string> metrics_of_all(const std::vector<RunReader>& runs) {
  std::set<std::string> metrics;
  for (const RunReader& run : runs) {
    for (const ValidationRow& row : run.validations()) {
      if (row.data == "validation") {
        metrics.insert(row.metric);
      }
    }
  }
  return metrics;
}

}  // namespace

std::string text_comparison(const std::vector<RunReader>& runs) {
  const std::vector<std::string> names = names_of(runs);
  std::vector<std::vector<std::string>> rows{
      {"run", "model", "steps", "best validation", "last train loss", "duration", "samples/s", "diagnosis"}};
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunSummary summary = summarize_run(runs[i].folder());
    rows.push_back({names[i], runs[i].info("model"), std::to_string(summary.step),
                    summary.best.empty() ? "-" : summary.best, number_text(last_loss(runs[i])),
                    duration_text(summary.seconds), number_text(std::round(samples_per_second(runs[i])), 9),
                    causes_of(runs[i])});
  }
  return text_table(rows) + differences(runs, names);
}

PlotStatus plot_comparison(const std::vector<RunReader>& runs, const std::filesystem::path& path) {
  const std::vector<std::string> names = names_of(runs);
  std::vector<std::vector<std::vector<double>>> losses;
  for (const RunReader& run : runs) {
    auto& rows = losses.emplace_back();
    for (const CurvePoint& point : curve_of(run.steps())) {
      rows.push_back({static_cast<double>(point.step), point.smooth_loss});
    }
  }
  std::vector<Panel> panels{overlay(losses, names, "Training loss, smoothed", "loss")};
  for (const std::string& metric : metrics_of_all(runs)) {
    std::vector<std::vector<std::vector<double>>> curves;
    for (const RunReader& run : runs) {
      auto& rows = curves.emplace_back();
      for (const ValidationRow& row : run.validations()) {
        if (row.data == "validation" && row.metric == metric && std::isfinite(row.value)) {
          rows.push_back({static_cast<double>(row.step), row.value});
        }
      }
    }
    panels.push_back(overlay(curves, names, "Validation: " + metric, metric));
  }
  return draw(panels, "Comparison of " + std::to_string(runs.size()) + " runs", path);
}

}  // namespace gradwise
