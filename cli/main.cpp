#include <c10/util/Exception.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "cli/commands/commands.h"
#include "gradwise/core/error.h"
#include "gradwise/core/fields.h"
#include "gradwise/core/nearest_name.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr const char* kExitStatus =
    "Exit status: 0 done; 1 the work failed; 2 the call is wrong, as an option or a run that is none;\n"
    "130, 143 a training was stopped by SIGINT, SIGTERM";
constexpr const char* kVersion = "gradwise " GRADWISE_VERSION;

int complain(const std::string& text, int status) {
  std::fflush(stdout);
  std::fprintf(stderr, "gradwise: error: %s\n", text.c_str());
  return status;
}

// CLI11 takes a slip in the command's name for a stray argument, and does not say which commands there are.
void check_command(const CLI::App& program, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') {
    return;
  }
  std::vector<std::string> known;
  for (const CLI::App* command : program.get_subcommands({})) {
    known.push_back(command->get_name());
  }
  if (std::ranges::find(known, argv[1]) == known.end()) {
    gradwise::fail_usage("command", "there is no command \"", argv[1], "\"", gradwise::did_you_mean(argv[1], known),
                         "; allowed: ", gradwise::comma_separated(known));
  }
}

int run(CLI::App& program, gradwise::CommandResult& result, int argc, char** argv) {
  try {
    check_command(program, argc, argv);
    program.parse(argc, argv);
    if (program.get_subcommands().empty()) {
      return complain("a command is needed; see gradwise --help", kUsage);
    }
    return result.exit_status;
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return program.exit(error);  // help or version
    }
    return complain(std::string(error.what()) + "; see gradwise --help", kUsage);
  } catch (const gradwise::Error& error) {
    return complain(error.what(), error.kind() == gradwise::ErrorKind::usage ? kUsage : kFailed);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    return complain(text.substr(0, text.find('\n')), kFailed);
  } catch (const std::exception& error) {
    return complain(error.what(), kFailed);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file-size limit is an error of the write, not the end of the process
  std::signal(SIGPIPE, SIG_IGN);  // a training goes on when nobody reads its output any more
  CLI::App program("Gradwise: trains networks in C++ on LibTorch, watches them, and loses nothing", "gradwise");
  program.set_version_flag("--version", kVersion);
  program.require_subcommand(0, 1);
  program.footer(kExitStatus);
  gradwise::CommandResult result;
  gradwise::add_train_command(program, result);
  gradwise::add_runs_command(program);
  gradwise::add_report_command(program);
  gradwise::add_analyze_command(program);
  gradwise::add_plot_command(program, result);
  gradwise::add_compare_command(program);
  gradwise::add_doctor_command(program, result);
  gradwise::add_rules_command(program);
  gradwise::add_config_command(program);
  gradwise::add_completion_command(program);
  for (CLI::App* command : program.get_subcommands([](CLI::App*) { return true; })) {
    command->set_version_flag("--version", kVersion);
  }
  const int status = run(program, result, argc, argv);
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  // Nobody may be reading any more, which is no failure of the work.
  return written || errno == EPIPE || status != 0 ? status : complain("standard output can't be written to", kFailed);
}
