#include "gradwise/report/training_panels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "gradwise/plot/script_text.h"
#include "gradwise/record/mebibyte.h"

namespace gradwise {
namespace {

constexpr std::size_t kMostPoints = 2000;
constexpr std::size_t kSmoothings = 50;  // the smoothed loss is a mean over a fiftieth of the points
constexpr std::size_t kMostMarks = 12;

double mean_of_finite(const std::vector<double>& values) {
  double sum = 0;
  double count = 0;
  for (const double value : values) {
    if (std::isfinite(value)) {
      sum += value;
      count += 1;
    }
  }
  return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
}

// Steps that one point of a curve stands for, so that long runs stay readable.
std::size_t window_of(const std::vector<StepInfo>& steps) {
  return std::max<std::size_t>(1, (steps.size() + kMostPoints - 1) / kMostPoints);
}

// Means over equal windows.
std::vector<CurvePoint> thinned(const std::vector<StepInfo>& steps) {
  const std::size_t window = window_of(steps);
  std::vector<CurvePoint> points;
  for (std::size_t begin = 0; begin < steps.size(); begin += window) {
    const std::size_t end = std::min(steps.size(), begin + window);
    std::vector<double> losses;
    std::vector<double> norms;
    for (std::size_t i = begin; i < end; ++i) {
      losses.push_back(steps[i].loss);
      norms.push_back(steps[i].grad_norm);
    }
    CurvePoint& point = points.emplace_back();
    point.step = steps[end - 1].step;
    point.loss = mean_of_finite(losses);
    point.grad_norm = mean_of_finite(norms);
    point.lr = steps[end - 1].lr;
  }
  return points;
}

// A centred moving mean of the loss. It begins with the first loss: over a whole half window a fast start would be
// hidden.
void smooth_losses(std::vector<CurvePoint>& points) {
  const std::size_t reach = points.size() / kSmoothings / 2;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t near_start = std::min(i, reach);
    const std::size_t end = std::min(points.size(), i + near_start + 1);
    std::vector<double> near;
    for (std::size_t j = i - near_start; j < end; ++j) {
      near.push_back(points[j].loss);
    }
    points[i].smooth_loss = mean_of_finite(near);
  }
}

// Rows that begin with their step, as the block "steps", and the axis for them.
std::string over_rows(const std::vector<std::vector<double>>& rows) {
  const std::string text = data_block("steps", rows) + "set xlabel 'optimizer step'\n";
  const auto last = static_cast<std::int64_t>(rows.empty() ? 0 : rows.back().front());
  return rows.size() > 1 ? text + "set xrange [0:" + std::to_string(last) + "]\n" : text;
}

std::vector<std::vector<double>> rows_of(const std::vector<CurvePoint>& points) {
  std::vector<std::vector<double>> rows;
  for (const CurvePoint& p : points) {
    rows.push_back({static_cast<double>(p.step), p.loss, p.smooth_loss, p.grad_norm, p.lr});
  }
  return rows;
}

std::vector<std::vector<double>> validation_rows(const std::vector<ValidationRow>& rows) {
  std::vector<std::vector<double>> found;
  for (const ValidationRow& row : rows) {
    if (row.metric == "loss" && row.data == "validation" && std::isfinite(row.value)) {
      found.push_back({static_cast<double>(row.step), row.value});
    }
  }
  return found;
}

const char* severity_colour(Severity severity) {
  return severity == Severity::error     ? colour::kVermilion
         : severity == Severity::warning ? colour::kOrange
                                         : colour::kGrey;
}

// A line down from the top at the first issue of each rule, with its name beside it.
std::string issue_marks(const std::vector<Issue>& issues) {
  std::set<std::string> told;
  std::string text;
  for (const Issue& issue : issues) {
    if (issue.severity == Severity::info || told.size() >= kMostMarks || !told.insert(issue.rule).second) {
      continue;
    }
    const std::string at = std::to_string(issue.step);
    const std::string colour = std::string("'") + severity_colour(issue.severity) + "'";
    text += "set arrow from " + at + ", graph 0 to " + at + ", graph 1 nohead lw 1.5 dt 2 lc rgb " + colour + "\n";
    text += "set label " + gnuplot_word(issue.rule) + " at " + at + ", graph " +
            std::to_string(0.96 - 0.075 * static_cast<double>(told.size() - 1)) +
            " offset 0.5,0 left noenhanced font 'sans,9' textcolor rgb " + colour + "\n";
  }
  return text;
}

Panel loss_panel(const std::vector<CurvePoint>& points, const RunReader& run) {
  const std::vector<std::vector<double>> rows = rows_of(points);
  std::string text = over_rows(rows) + "set ylabel 'loss'\n" + issue_marks(run.issues());
  const std::vector<std::vector<double>> validations = validation_rows(run.validations());
  if (!validations.empty()) {
    text += data_block("validation", validations);
  }
  std::vector<double> losses;
  for (const CurvePoint& point : points) {
    losses.push_back(point.loss);
  }
  text += ranges_widely(losses) ? "set logscale y\nplot " : "plot ";
  if (points.size() >= 2 * kSmoothings) {
    text += plotted_line("steps", rows, 2, colour::kSky, "training, each step") + ", " +
            plotted_line("steps", rows, 3, colour::kBlue, "training, smoothed");
  } else {
    text += plotted_line("steps", rows, 2, colour::kBlue, "training");
  }
  if (!validations.empty()) {
    text += std::string(", $validation using 1:2 with linespoints lw 2 pt 7 ps 0.8 lc rgb '") + colour::kVermilion +
            "' title 'validation'";
  }
  return {"Loss", text};
}

Panel norm_panel(const std::vector<CurvePoint>& points) {
  const std::vector<std::vector<double>> rows = rows_of(points);
  return {"Gradient", over_rows(rows) + "set logscale y\nset ylabel 'gradient norm (L2)'\nplot " +
                          plotted_line("steps", rows, 4, colour::kBlue, "before clipping")};
}

Panel rate_panel(const std::vector<CurvePoint>& points) {
  double most = 0;
  for (const CurvePoint& point : points) {
    most = std::fmax(most, point.lr);
  }
  // From 0: ticks around a rate that stays would all read the same.
  const std::string range = most > 0 ? "set yrange [0:" + gnuplot_number(1.1 * most) + "]\n" : "";
  const std::vector<std::vector<double>> rows = rows_of(points);
  return {"Schedule", over_rows(rows) + range + "set ylabel 'learning rate'\nset format y '%.1e'\nplot " +
                          plotted_line("steps", rows, 5, colour::kGreen, "first group")};
}

}  // namespace

std::vector<CurvePoint> curve_of(const std::vector<StepInfo>& steps) {
  std::vector<CurvePoint> points = thinned(steps);
  smooth_losses(points);
  return points;
}

std::vector<Panel> training_panels(const RunReader& run) {
  const std::vector<CurvePoint> points = curve_of(run.steps());
  std::vector<Panel> panels;
  if (std::ranges::any_of(points, [](const CurvePoint& p) { return std::isfinite(p.loss); })) {
    panels.push_back(loss_panel(points, run));
  }
  if (std::ranges::any_of(points, [](const CurvePoint& p) { return p.grad_norm > 0; })) {
    panels.push_back(norm_panel(points));
  }
  if (std::ranges::any_of(points, [](const CurvePoint& p) { return std::isfinite(p.lr); })) {
    panels.push_back(rate_panel(points));
  }
  return panels;
}

std::vector<Panel> memory_panels(const RunReader& run) {
  const std::vector<StepInfo> steps = run.steps();
  const std::size_t window = window_of(steps);
  std::vector<std::vector<double>> rows;
  for (std::size_t begin = 0; begin < steps.size(); begin += window) {
    const std::size_t end = std::min(steps.size(), begin + window);
    double most = kNotMeasured;
    for (std::size_t i = begin; i < end; ++i) {
      most = std::fmax(most, steps[i].peak_bytes);  // NaN gives way
    }
    rows.push_back({static_cast<double>(steps[end - 1].step), most / kMebibyte});
  }
  if (std::ranges::none_of(rows, [](const std::vector<double>& row) { return std::isfinite(row[1]); })) {
    return {};
  }
  return {{"Memory: the most that a step's tensors took at once, above what was held before it",
           over_rows(rows) + "set yrange [0:*]\nset ylabel 'peak memory (MiB)'\nplot " +
               plotted_line("steps", rows, 2, colour::kPurple, "peak of each step")}};
}

}  // namespace gradwise
