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
#include "gradwise/report/comparison.h"

namespace gradwise {
namespace {

struct CompareRequest {
  std::vector<std::string> runs;
  std::string output;
};

void compare(const CompareRequest& request) {
  if (!request.output.empty()) {
    check_picture_path(request.output);
    const std::filesystem::path output = request.output;
    const std::string why = folder_problem(output.has_parent_path() ? output.parent_path() : ".");
    GRADWISE_CHECK(why.empty(), "compare", "-o is ", request.output, ", and ", why,
                   "; allowed: a picture's file in a folder that can be written to");
  }
  std::vector<RunReader> runs;
  for (const std::string& run : request.runs) {
    runs.emplace_back(run_path(run));
  }
  std::printf("%s", text_comparison(runs).c_str());
  if (!request.output.empty()) {
    const PlotStatus status = plot_comparison(runs, request.output);
    if (!status.drawn) {
      fail("plot", "no picture ", request.output, ": ", status.reason);
    }
    std::printf("\npicture  %s\n", request.output.c_str());
  }
}

}  // namespace

void add_compare_command(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("compare", "Set runs side by side: figures, diagnosis, settings that differ");
  auto request = std::make_shared<CompareRequest>();
  command->add_option("runs", request->runs, "Two or more runs: their folders, or their names under runs/")
      ->required()
      ->expected(2, 100);
  command->add_option("-o,--output", request->output, "A picture of their curves: .png, .svg or .pdf");
  command->callback([request] { compare(*request); });
}

}  // namespace gradwise
