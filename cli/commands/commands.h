#pragma once

namespace CLI {
class App;
}

namespace gradwise {

/// What the chosen subcommand leaves for the exit status.
struct CommandResult {
  int exit_status = 0;
};

// Each adds its subcommand to the program.
void add_train_command(CLI::App& program, CommandResult& result);
void add_runs_command(CLI::App& program);
void add_report_command(CLI::App& program);
void add_analyze_command(CLI::App& program);
void add_plot_command(CLI::App& program, CommandResult& result);
void add_compare_command(CLI::App& program);
void add_doctor_command(CLI::App& program, CommandResult& result);
void add_rules_command(CLI::App& program);
void add_config_command(CLI::App& program);
void add_completion_command(CLI::App& program);

}  // namespace gradwise
