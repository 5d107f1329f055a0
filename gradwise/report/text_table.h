#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace gradwise {

/// The widest line of a report, in columns.
inline constexpr std::size_t kReportWidth = 100;

/// Rows of cells, printed in aligned columns; the first row is the header. A column of numbers is aligned to the right.
[[nodiscard]] std::string text_table(const std::vector<std::vector<std::string>>& rows);

/// Pairs of a name and what it is, one a line; a long text goes on under its own beginning.
[[nodiscard]] std::string text_pairs(const std::vector<std::pair<std::string, std::string>>& pairs);

/// Text in lines of at most `kReportWidth` columns, broken at spaces, each after `indent` spaces; ends with a new line.
[[nodiscard]] std::string wrapped(const std::string& text, std::size_t indent);

/// Local time as "2026-01-31 14:05:59"; "-" where it is not known (0).
[[nodiscard]] std::string time_text(double seconds_since_epoch);

/// A number in at most `digits` significant digits; "-" for NaN.
[[nodiscard]] std::string number_text(double value, int digits = 4);

}  // namespace gradwise
