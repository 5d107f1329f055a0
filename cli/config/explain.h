#pragma once

#include <string>

namespace gradwise {

/// Keys of the configuration with type, default, what is allowed and what they mean, as text to read: all, or those of
/// the group or key that is wanted ("optimizer", "optimizer.lr"). Error: there is none of that name.
[[nodiscard]] std::string explain_config(const std::string& wanted = "");

}  // namespace gradwise
