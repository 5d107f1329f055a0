#include "gradwise/report/runs_table.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "cli/commands/commands.h"
#include "gradwise/core/error.h"

namespace gradwise {

void add_runs_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand("runs", "List the runs in a folder");
  auto root = std::make_shared<std::string>("runs");
  command->add_option("root,--root", *root, "Folder that holds the runs")->capture_default_str();
  command->callback([root] {
    // The default folder is made by the first run.
    GRADWISE_CHECK(*root == "runs" || std::filesystem::is_directory(*root), "runs", "there is no folder ", *root);
    const std::vector<RunSummary> runs = list_runs(*root);
    std::printf("%s", runs.empty() ? ("no runs in " + *root + "\n").c_str() : runs_table(runs).c_str());
  });
}

}  // namespace gradwise
