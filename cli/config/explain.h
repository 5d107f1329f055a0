#pragma once

#include <string>

namespace gradwise {

/// Every key of the configuration with its type, default, what is allowed and what it means, as text to read.
[[nodiscard]] std::string explain_config();

}  // namespace gradwise
