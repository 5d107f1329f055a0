#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands/commands.h"
#include "cli/commands/run_path.h"
#include "gradwise/core/error.h"
#include "gradwise/report/figures.h"
#include "gradwise/report/html_report.h"
#include "gradwise/report/text_report.h"

namespace gradwise {
namespace {

// A run that may only be read has its report on the screen alone.
void report(const std::filesystem::path& run) {
  const RunReader reader(run);
  std::printf("%s", text_report(reader).c_str());
  try {
    write_report(reader, run / "report.txt");
    write_html_report(reader, run / "report.html");
    const PlotStatus plot = plot_training(reader, run / "training.png");
    if (!plot.drawn) {
      std::fprintf(stderr, "gradwise: warning: no picture: %s\n", plot.reason.c_str());
    }
  } catch (const Error& error) {
    std::fprintf(stderr, "gradwise: warning: %s\n", error.what());
  }
}

}  // namespace

void add_report_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand(
      "report", "Print what a run did, a live one too, and renew its report.txt, report.html and training.png");
  auto run = std::make_shared<std::string>();
  command->add_option("run", *run, "The run's folder, or its name under runs/")->required();
  command->callback([run] { report(run_path(*run)); });
}

}  // namespace gradwise
