#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <ctime>
#include <memory>

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

// The configuration's stem and the time of the start, as "fashion_mnist_cnn-20260131-140559".
std::string default_name(const std::string& config) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof(text), "-%Y%m%d-%H%M%S", &local);
  return std::filesystem::path(config).stem().string() + text;
}

int train(const TrainArguments& arguments) {
  GRADWISE_CHECK(arguments.config.empty() != arguments.run.empty(), "train",
                 "give either a configuration or --resume RUN");
  if (!arguments.run.empty()) {
    return RunSession::resume(run_path(arguments.run), arguments.overrides);
  }
  return RunSession::start(load_config(arguments.config, arguments.overrides), default_name(arguments.config));
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
