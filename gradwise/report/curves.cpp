#include "gradwise/report/curves.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <limits>
#include <sstream>
#include <vector>

#include "gradwise/core/atomic_file.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

namespace fs = std::filesystem;

// Okabe and Ito's colours, which colour-blind readers tell apart.
constexpr const char* kBlue = "#0072B2";
constexpr const char* kSky = "#56B4E9";
constexpr const char* kOrange = "#D55E00";
constexpr const char* kGreen = "#009E73";
constexpr std::size_t kMostPoints = 2000;
constexpr std::size_t kSmoothings = 50;  // the smoothed loss is a mean over a fiftieth of the points

struct CurvePoint {
  std::int64_t step = 0;
  double loss = 0;
  double smooth_loss = 0;
  double grad_norm = 0;
  double lr = 0;
};

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

// Means over equal windows, so that long runs stay readable.
std::vector<CurvePoint> thinned(const std::vector<StepInfo>& steps) {
  const std::size_t window = std::max<std::size_t>(1, (steps.size() + kMostPoints - 1) / kMostPoints);
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

// A centred moving mean of the loss.
void smooth(std::vector<CurvePoint>& points) {
  const std::size_t reach = points.size() / kSmoothings / 2;
  for (std::size_t i = 0; i < points.size(); ++i) {
    const std::size_t end = std::min(points.size(), i + reach + 1);
    std::vector<double> near;
    for (std::size_t j = i - std::min(i, reach); j < end; ++j) {
      near.push_back(points[j].loss);
    }
    points[i].smooth_loss = mean_of_finite(near);
  }
}

std::string step_block(const std::vector<CurvePoint>& points) {
  std::ostringstream block;
  block.precision(8);
  block << "$steps << EOD\n";
  for (const CurvePoint& p : points) {
    block << p.step << ' ' << p.loss << ' ' << p.smooth_loss << ' ' << p.grad_norm << ' ' << p.lr << '\n';
  }
  block << "EOD\n";
  return block.str();
}

// Empty where the run was not validated.
std::string validation_block(const std::vector<ValidationRow>& rows) {
  std::ostringstream block;
  for (const ValidationRow& row : rows) {
    if (row.metric == "loss" && row.data == "validation" && std::isfinite(row.value)) {
      block << row.step << ' ' << row.value << '\n';
    }
  }
  return block.str().empty() ? "" : "$validation << EOD\n" + block.str() + "EOD\n";
}

// A word of gnuplot's language; in single quotes only the quote itself is special.
std::string gnuplot_word(const std::string& text) {
  std::string word = "'";
  for (const char letter : text) {
    word += letter == '\'' ? std::string("''") : std::string(1, letter);
  }
  return word + "'";
}

std::string terminal_of(const fs::path& path) {
  const std::string extension = path.extension().string();
  GRADWISE_CHECK(extension == ".png" || extension == ".svg" || extension == ".pdf", "plot", "the file ending is \"",
                 extension, "\", allowed: .png, .svg, .pdf");
  if (extension == ".pdf") {
    return "set terminal pdfcairo size 12,9 font 'sans,12'\n";
  }
  return std::string("set terminal ") + (extension == ".png" ? "pngcairo" : "svg") + " size 1200,900 font 'sans,12'\n";
}

std::string line_of(const char* source, const char* columns, const char* colour, const char* title) {
  return std::string(source) + " using " + columns + " with lines lw 2 lc rgb '" + colour + "' title '" + title + "'";
}

std::string loss_panel(const std::vector<CurvePoint>& points, bool validated) {
  std::string panel = "set ylabel 'loss'\nplot ";
  if (points.size() >= 2 * kSmoothings) {
    panel += line_of("$steps", "1:2", kSky, "training, each step") + ", ";
    panel += line_of("$steps", "1:3", kBlue, "training, smoothed");
  } else {
    panel += line_of("$steps", "1:2", kBlue, "training");
  }
  if (validated) {
    panel += std::string(", $validation using 1:2 with linespoints lw 2 pt 7 ps 0.8 lc rgb '") + kOrange +
             "' title 'validation'";
  }
  return panel + "\n";
}

std::string norm_panel() {
  return "set logscale y\nset ylabel 'gradient norm (L2)'\nset format y '%g'\nplot " +
         line_of("$steps", "1:4", kBlue, "before clipping") + "\nunset logscale y\n";
}

std::string rate_panel() {
  return "set ylabel 'learning rate'\nset format y '%.1e'\nplot " + line_of("$steps", "1:5", kGreen, "first group") +
         "\n";
}

// One panel for each quantity that was measured, below one another.
std::string script(const RunReader& run, const fs::path& drawn) {
  std::vector<CurvePoint> points = thinned(run.steps());
  smooth(points);
  const std::string validations = validation_block(run.validations());
  std::vector<std::string> panels;
  if (std::ranges::any_of(points, [](const CurvePoint& p) { return std::isfinite(p.loss); })) {
    panels.push_back(loss_panel(points, !validations.empty()));
  }
  if (std::ranges::any_of(points, [](const CurvePoint& p) { return p.grad_norm > 0; })) {
    panels.push_back(norm_panel());
  }
  if (std::ranges::any_of(points, [](const CurvePoint& p) { return std::isfinite(p.lr); })) {
    panels.push_back(rate_panel());
  }
  std::ostringstream text;
  text << terminal_of(drawn) << "set output " << gnuplot_word(drawn.string()) << '\n'
       << step_block(points) << validations << "set multiplot title " << gnuplot_word(run.info("name"))
       << " noenhanced layout " << panels.size() << ",1\n"
       << "set grid lt 1 lc rgb '#dddddd'\nset key outside right top\nset lmargin 12\nset rmargin 26\n"
       << "set xlabel 'optimizer step'\n";
  if (points.size() > 1) {
    text << "set xrange [0:" << points.back().step << "]\n";
  }
  for (const std::string& panel : panels) {
    text << panel;
  }
  text << "unset multiplot\n";
  return panels.empty() ? "" : text.str();
}

// Exit status of gnuplot, -1 where it can't be started.
int run_gnuplot(const fs::path& script_file) {
  std::string file = script_file.string();
  std::string name = "gnuplot";
  char* const arguments[] = {name.data(), file.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int started = posix_spawnp(&child, "gnuplot", &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (started != 0) {
    return -1;
  }
  int status = 0;
  while (::waitpid(child, &status, 0) != child) {
    if (errno != EINTR) {
      return -1;
    }
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

PlotStatus plot_training(const RunReader& run, const fs::path& path) {
  const std::string unique = ".drawing-" + std::to_string(::getpid());
  const fs::path drawn = path.parent_path() / (unique + path.extension().string());
  const fs::path script_file = path.parent_path() / (unique + ".gnuplot");
  const std::string commands = script(run, drawn);
  if (commands.empty()) {
    return {false, "the run has no step to draw yet"};
  }
  write_file_atomically(script_file, commands);
  const int status = run_gnuplot(script_file);
  std::error_code problem;
  fs::remove(script_file, problem);
  if (status != 0) {
    fs::remove(drawn, problem);
    return {false, status == -1 || status == 127 ? "the program gnuplot is not installed"
                                                 : "gnuplot failed with status " + std::to_string(status)};
  }
  fs::rename(drawn, path, problem);
  return problem ? PlotStatus{false, problem.message()} : PlotStatus{true, ""};
}

}  // namespace gradwise
