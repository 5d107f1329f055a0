#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands/commands.h"

namespace gradwise {
namespace {

std::string join_names(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) {
    text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

// Subcommands, then "command: options" as the program itself declares them.
std::vector<std::pair<std::string, std::string>> options_by_command(const CLI::App& program) {
  std::vector<std::pair<std::string, std::string>> found;
  for (const CLI::App* command : program.get_subcommands({})) {
    std::vector<std::string> names;
    for (const CLI::Option* option : command->get_options()) {
      if (!option->get_lnames().empty()) {
        names.push_back("--" + option->get_lnames().front());
      }
    }
    found.emplace_back(command->get_name(), join_names(names));
  }
  return found;
}

std::string bash_completion(const CLI::App& program) {
  std::vector<std::string> commands;
  std::string cases;
  for (const auto& [name, options] : options_by_command(program)) {
    commands.push_back(name);
    cases += "    " + name + ") words=\"" + options + "\" ;;\n";
  }
  return "_gradwise() {\n  local current=\"${COMP_WORDS[COMP_CWORD]}\" words\n  case \"${COMP_WORDS[1]}\" in\n" +
         cases + "    *) words=\"" + join_names(commands) +
         " --help --version\" ;;\n  esac\n  mapfile -t COMPREPLY < <(compgen -f -W \"$words\" -- \"$current\")\n}\n"
         "complete -o filenames -F _gradwise gradwise\n";
}

std::string zsh_completion(const CLI::App& program) {
  return "autoload -U +X bashcompinit && bashcompinit\n" + bash_completion(program);
}

std::string fish_completion(const CLI::App& program) {
  std::string text;
  for (const auto& [name, options] : options_by_command(program)) {
    text += "complete -c gradwise -n __fish_use_subcommand -a " + name + "\n";
    text += "complete -c gradwise -n '__fish_seen_subcommand_from " + name + "' -a '" + options + "'\n";
  }
  return text;
}

}  // namespace

void add_completion_command(CLI::App& program) {
  CLI::App* command =
      program.add_subcommand("completion", "Print a completion script, as: source <(gradwise completion bash)");
  auto shell = std::make_shared<std::string>();
  command->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->callback([shell, &program] {
    const std::string text = *shell == "bash"  ? bash_completion(program)
                             : *shell == "zsh" ? zsh_completion(program)
                                               : fish_completion(program);
    std::printf("%s", text.c_str());
  });
}

}  // namespace gradwise
