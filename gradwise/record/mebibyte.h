#pragma once

namespace gradwise {

/// Bytes.
inline constexpr double kMebibyte = 1024.0 * 1024.0;

}  // namespace gradwise
