#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands/commands.h"
#include "cli/config/explain.h"
#include "cli/config/load_config.h"
#include "cli/config/toml_writer.h"

namespace gradwise {
namespace {

struct ConfigArguments {
  std::string config;
  bool explain = false;
  std::vector<std::string> overrides;
};

void run(const ConfigArguments& arguments) {
  GRADWISE_CHECK(arguments.explain || !arguments.config.empty(), "config", "give a configuration or --explain");
  const std::string text = arguments.explain ? explain_config(arguments.config)
                                             : to_toml(load_config(arguments.config, arguments.overrides));
  std::printf("%s", text.c_str());
}

}  // namespace

void add_config_command(CLI::App& program) {
  CLI::App* command = program.add_subcommand("config", "Explain the configuration, or print one with all its defaults");
  auto arguments = std::make_shared<ConfigArguments>();
  command->add_option("config", arguments->config,
                      "Configuration (TOML); with --explain a group or a key, as optimizer or optimizer.lr");
  command->add_flag("--explain", arguments->explain, "Keys with type, default and meaning: all, or those of one group");
  command->add_option("--set", arguments->overrides, "key=value over the configuration")->allow_extra_args(false);
  command->callback([arguments] { run(*arguments); });
}

}  // namespace gradwise
