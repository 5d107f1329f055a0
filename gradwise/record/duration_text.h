#pragma once

#include <string>

namespace gradwise {

/// "1:02:03" (hours, minutes, seconds) or "2:03".
[[nodiscard]] std::string duration_text(double seconds);

}  // namespace gradwise
