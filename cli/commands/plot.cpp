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

bool is_one_file(const PlotRequest& request) { return std::filesystem::path(request.output).has_extension(); }

std::filesystem::path picture_place(const PlotRequest& request, const std::filesystem::path& run) {
  const std::filesystem::path given = request.output.empty() ? run / "plots" : std::filesystem::path(request.output);
  if (is_one_file(request)) {
    return given.has_parent_path() ? given.parent_path() : ".";
  }
  return given;
}

// Where the pictures go, made where it is not there. What is wrong with it is said here once, not of each picture.
std::filesystem::path picture_folder(const PlotRequest& request, const std::filesystem::path& run) {
  const std::filesystem::path folder = picture_place(request, run);
  std::error_code problem;
  if (!std::filesystem::is_directory(folder, problem)) {
    std::filesystem::create_directories(folder, problem);
  }
  const std::string why =
      problem ? "the folder " + folder.string() + " can't be made: " + problem.message() : folder_problem(folder);
  if (!why.empty() && request.output.empty()) {
    fail("plot", why, "; -o gives another place");
  }
  GRADWISE_CHECK(why.empty(), "plot", "-o is ", request.output, ", and ", why,
                 "; allowed: a folder that can be written to, or a picture's file in one");
  return folder;
}

enum class Outcome { drawn, nothing, failed };

// Says what has become of it.
Outcome plot_one(const Figure& figure, const RunReader& run, const std::filesystem::path& path) {
  try {
    if (figure.panels(run).empty()) {
      std::printf("%-12s -  %s\n", figure.name.c_str(), nothing_of(figure, run).c_str());
      return Outcome::nothing;
    }
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
  if (is_one_file(request)) {
    check_picture_path(request.output);
    if (names.size() != 1) {
      fail_usage("plot", "-o ", request.output, " is one file, and ", names.size(),
                 " figures are asked for: choose one by --what, or give a folder");
    }
  }
  const std::filesystem::path run_folder = run_path(request.run);
  const RunReader run(run_folder);
  const bool there_before = std::filesystem::exists(picture_place(request, run_folder));
  const std::filesystem::path folder = picture_folder(request, run_folder);
  int failed = 0;
  for (const std::string& name : names) {
    const std::filesystem::path path =
        is_one_file(request) ? std::filesystem::path(request.output) : folder / (name + ".png");
    const Outcome outcome = plot_one(figure_named(name), run, path);
    failed += outcome == Outcome::failed || (outcome == Outcome::nothing && !request.what.empty()) ? 1 : 0;
  }
  if (std::error_code problem; !there_before && std::filesystem::is_empty(folder, problem)) {
    std::filesystem::remove(folder, problem);
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
