#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <thread>

#include "cli/commands/commands.h"
#include "cli/commands/run_path.h"
#include "cli/config/load_config.h"
#include "cli/run_session.h"

namespace gradwise {
namespace {

struct TrainArguments {
  std::string config;
  std::string run;
  std::vector<std::string> overrides;
};

// The configuration's stem and the time of the start, as "fashion_mnist_cnn-20260131-140559"; "-2" and so on after it
// where there is one already.
std::string default_name(const std::string& config) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof(text), "-%Y%m%d-%H%M%S", &local);
  const std::string first = std::filesystem::path(config).stem().string() + text;
  std::string name = first;
  for (int n = 2; std::filesystem::exists("runs/" + name); ++n) {
    name = first + "-" + std::to_string(n);
  }
  return name;
}

// What a checkpoint's state depends on, or holds itself.
void check_resumed(const std::vector<std::string>& overrides) {
  for (const std::string& text : overrides) {
    for (const char* fixed :
         {"optimizer.", "loader.", "data.", "train.seed", "train.accumulate", "train.schedule.", "run.dir"}) {
      GRADWISE_CHECK(!text.starts_with(fixed), "train", "--set ", text,
                     " can't be changed in a run that goes on; start a new run with it");
    }
  }
}

// Threads of OpenMP wait for each other by spinning, which takes the cores from the threads waited for where others
// work on the machine too. The policy is read when the program is loaded, so it is too late to set it here.
void hint_at_waiting() {
  double load = 0;
  const unsigned cores = std::thread::hardware_concurrency();
  const bool busy = ::getloadavg(&load, 1) == 1 && cores > 0 && load >= cores;
  if (busy && std::getenv("OMP_WAIT_POLICY") == nullptr) {
    std::printf(
        "the machine is busy (load %.1f on %u cores): OMP_WAIT_POLICY=passive before the command shares it "
        "better\n",
        load, cores);
  }
}

int train(const TrainArguments& arguments) {
  GRADWISE_CHECK(arguments.config.empty() != arguments.run.empty(), "train",
                 "give either a configuration or --resume RUN");
  hint_at_waiting();
  if (!arguments.run.empty()) {
    check_resumed(arguments.overrides);
    return RunSession::resume(run_path(arguments.run), arguments.overrides);
  }
  RunConfig config = load_config(arguments.config, arguments.overrides);
  resolve_paths(config, std::filesystem::path(arguments.config).parent_path());
  return RunSession::start(config, default_name(arguments.config));
}

}  // namespace

void add_train_command(CLI::App& program, CommandResult& result) {
  CLI::App* command = program.add_subcommand("train", "Train a network as a configuration says");
  auto arguments = std::make_shared<TrainArguments>();
  command->add_option("config", arguments->config, "Configuration (TOML); see `gradwise config --explain`");
  command->add_option("--resume", arguments->run, "Go on with a run: its folder, or its name under runs/");
  command->add_option("--set", arguments->overrides, "key=value over the configuration, as train.epochs=3")
      ->allow_extra_args(false);
  command->callback([arguments, &result] { result.exit_status = train(*arguments); });
}

}  // namespace gradwise
