#pragma once

#include <string>

#include "benchmarks/diagnosis/fault.h"

namespace gradwise::bench {

/// Changes a program as the remedy of a cause says, knowing the cause alone and not the fault; false where its remedy
/// can't be followed by a program (to look at the data).
bool apply_remedy(Program& program, const std::string& cause);

}  // namespace gradwise::bench
