#include "cli/next_commands.h"

#include "cli/config/toml_writer.h"

namespace gradwise {
namespace {

// What makes a training longer that has come to its end: twice of what ended it.
std::string longer(const LoopOptions& train, const FitResult& result) {
  if (result.limit == "max_steps") {
    return "train.max_steps=" + std::to_string(2 * train.max_steps);
  }
  if (result.limit == "max_seconds") {
    return "train.max_seconds=" + toml_value(2 * train.max_seconds);
  }
  if (result.limit == "early_stopping.patience") {
    return "train.early_stopping.patience=" + std::to_string(2 * train.early_stopping.patience);
  }
  return result.status == "stopped" ? "'watch.stop_on=[]'" : "train.epochs=" + std::to_string(2 * train.epochs);
}

}  // namespace

std::string next_commands(const std::string& run, const LoopOptions& train, const FitResult& result, bool broke) {
  const std::string onward = broke ? "gradwise doctor " + run + "/config.toml --fix"
                                   : "gradwise train --resume " + run + " --set " + longer(train, result);
  return "next     gradwise report " + run + "\n         " + onward + "\n         gradwise plot " + run +
         "\n         tensorboard --logdir " + run + "\n";
}

}  // namespace gradwise
