#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "cli/commands/commands.h"
#include "cli/commands/run_path.h"
#include "gradwise/core/error.h"
#include "gradwise/report/figures.h"

namespace gradwise {
namespace {

struct PlotRequest {
  std::string run;
  std::vector<std::string> what;
  std::string output;
};

// A folder for several pictures; a file for one.
std::filesystem::path picture_path(const PlotRequest& request, const std::filesystem::path& run,
                                   const std::string& figure) {
  if (request.output.empty()) {
    return run / "plots" / (figure + ".png");
  }
  const std::filesystem::path output = request.output;
  return output.has_extension() ? output : output / (figure + ".png");
}

enum class Outcome { drawn, nothing, failed };

// Says what has become of it.
Outcome plot_one(const Figure& figure, const RunReader& run, const std::filesystem::path& path) {
  try {
    if (figure.panels(run).empty()) {
      std::printf("%-12s -  %s\n", figure.name.c_str(), nothing_of(figure).c_str());
      return Outcome::nothing;
    }
    std::error_code problem;
    std::filesystem::create_directories(path.parent_path(), problem);
    const PlotStatus status = plot_figure(figure, run, path);
    if (status.drawn) {
      std::printf("%-12s %s\n", figure.name.c_str(), path.c_str());
      return Outcome::drawn;
    }
    std::fprintf(stderr, "gradwise: error: no picture of %s: %s\n", figure.name.c_str(), status.reason.c_str());
  } catch (const Error& error) {
    std::fprintf(stderr, "gradwise: error: no picture of %s: %s\n", figure.name.c_str(), error.what());
  }
  return Outcome::failed;
}

int plot_run(const PlotRequest& request) {
  std::vector<std::string> names = request.what;
  if (names.empty()) {
    for (const Figure& figure : figures()) {
      names.push_back(figure.name);
    }
  }
  for (const std::string& name : names) {
    (void)figure_named(name);
  }
  const bool one_file = std::filesystem::path(request.output).has_extension();
  if (one_file) {
    check_picture_path(request.output);
    if (names.size() != 1) {
      fail_usage("plot", "-o ", request.output, " is one file, and ", names.size(),
                 " figures are asked for: choose one by --what, or give a folder");
    }
  }
  const std::filesystem::path folder = run_path(request.run);
  const RunReader run(folder);
  int failed = 0;
  for (const std::string& name : names) {
    const Outcome outcome = plot_one(figure_named(name), run, picture_path(request, folder, name));
    failed += outcome == Outcome::failed || (outcome == Outcome::nothing && !request.what.empty()) ? 1 : 0;
  }
  return failed > 0 ? 1 : 0;
}

}  // namespace

void add_plot_command(CLI::App& program, CommandResult& result) {
  CLI::App* command =
      program.add_subcommand("plot", "Draw pictures of a run, a live one too: norms, flow, updates, ...");
  auto request = std::make_shared<PlotRequest>();
  std::string known;
  for (const Figure& figure : figures()) {
    known += "\n  " + figure.name + ": " + figure.about;
  }
  command->add_option("run", request->run, "The run's folder, or its name under runs/")->required();
  command
      ->add_option("--what", request->what,
                   "Which figures, separated by commas; all that have data if not given:" + known)
      ->delimiter(',');
  command->add_option("-o,--output", request->output,
                      "A folder, or a file ending in .png, .svg or .pdf for one figure (default: plots/ in the run)");
  command->callback([request, &result] { result.exit_status = plot_run(*request); });
}

}  // namespace gradwise
