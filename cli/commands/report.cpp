#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands/commands.h"
#include "cli/commands/run_path.h"
#include "gradwise/report/text_report.h"

namespace gradwise {

void add_report_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand("report", "Print what a run did, a live one too");
  auto run = std::make_shared<std::string>();
  command->add_option("run", *run, "The run's folder, or its name under runs/")->required();
  command->callback([run] { std::printf("%s", text_report(RunReader(run_path(*run))).c_str()); });
}

}  // namespace gradwise
