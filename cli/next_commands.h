#pragma once

#include <string>

#include "gradwise/train/loop.h"
#include "gradwise/train/loop_options.h"

namespace gradwise {

/// The commands that a user may want after a training, a line each: its report, how it goes on past what ended it
/// (`limit` of the result), pictures. Where the loss is no finite number (`broke`), the doctor takes the place of going
/// on.
[[nodiscard]] std::string next_commands(const std::string& run, const LoopOptions& train, const FitResult& result,
                                        bool broke);

}  // namespace gradwise
