#pragma once

#include <map>
#include <string>
#include <vector>

#include "benchmarks/diagnosis/fault.h"

namespace gradwise::bench {

/// What the remedy of each cause comes to in a program, in the order in which one would try: written from the words of
/// the remedy, knowing the cause alone and not the fault.
[[nodiscard]] const std::map<std::string, std::vector<void (*)(Program&)>>& remedies();

}  // namespace gradwise::bench
