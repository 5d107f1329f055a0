#include "cli/doctor/doctor.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>

#include "cli/commands/commands.h"

namespace gradwise {

void add_doctor_command(CLI::App& program, CommandResult& result) {
  CLI::App* command =
      program.add_subcommand("doctor", "Train shortly under watch and say what the training suffers from");
  auto request = std::make_shared<DoctorRequest>();
  command->add_option("subject", request->subject, "A configuration (TOML), or a run: its folder or name")->required();
  command->add_option("--set", request->overrides, "key=value over the configuration, as optimizer.lr=0.1")
      ->allow_extra_args(false);
  command->add_option("--steps", request->steps, "Optimizer steps of each training (default: 200 beyond the warm-up)")
      ->check(CLI::Range(20, 1000000));
  command->add_flag("--fix", request->fix,
                    "Try remedies from the same start and write a configuration with what helps");
  command->add_option("-o,--output", request->output, "Where the mended configuration goes");
  command->callback([request, &result] { result.exit_status = run_doctor(*request); });
}

}  // namespace gradwise
