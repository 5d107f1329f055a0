#pragma once

#include <string_view>

namespace gradwise {

/// How much something that is told matters.
enum class Severity { info, warning, error };

/// The word for it in records: "info", "warning" or "error".
[[nodiscard]] constexpr const char* name_of(Severity severity) {
  switch (severity) {
    case Severity::info:
      return "info";
    case Severity::warning:
      return "warning";
    case Severity::error:
      return "error";
  }
  return "";
}

/// The other way round; a word that is none of them is a warning.
[[nodiscard]] constexpr Severity severity_named(std::string_view name) {
  return name == "info" ? Severity::info : name == "error" ? Severity::error : Severity::warning;
}

}  // namespace gradwise
