#pragma once

#include <string>
#include <vector>

#include "gradwise/optim/optimizer_options.h"

namespace gradwise {

/// Fields that differ from their defaults although the named optimizer has no use for them, as "momentum" with adamw:
/// a slip, most often. Each once, in the order of their description.
[[nodiscard]] std::vector<std::string> unused_options(const OptimizerOptions& options);

}  // namespace gradwise
