#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/commands/commands.h"
#include "gradwise/report/text_table.h"
#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

void print_rule(const Rule& rule) {
  std::printf("%s (%s, %s)\n%s", rule.name.c_str(), name_of(rule.set), name_of(rule.severity),
              wrapped(rule.about, 2).c_str());
  for (const RuleParameter& parameter : rule.parameters) {
    const std::string line =
        rule.name + "." + parameter.key + " = " + number_text(parameter.value, 6) + ": " + parameter.meaning;
    std::printf("%s", wrapped(line, 4).c_str());
  }
  if (!rule.source.empty()) {
    std::printf("%s", wrapped("from: " + rule.source, 4).c_str());
  }
  std::printf("%s\n", wrapped("-> " + rule.advice, 4).c_str());
}

}  // namespace

void add_rules_command(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("rules", "List the rules that trainings are held against, with their parameters");
  auto name = std::make_shared<std::string>();
  command->add_option("name", *name, "One of them; all if not given");
  command->callback([name] {
    if (!name->empty()) {
      print_rule(rule_named(*name));
      return;
    }
    for (const Rule& rule : all_rules()) {
      print_rule(rule);
    }
  });
}

}  // namespace gradwise
