#pragma once

#include <string>
#include <vector>

/// The words that panels are written in: gnuplot's language for text, colours and data.
namespace gradwise {

/// Okabe and Ito's colours ("Color Universal Design", 2008), which colour-blind readers tell apart.
namespace colour {
inline constexpr const char* kBlue = "#0072B2";
inline constexpr const char* kSky = "#56B4E9";
inline constexpr const char* kOrange = "#E69F00";
inline constexpr const char* kVermilion = "#D55E00";
inline constexpr const char* kGreen = "#009E73";
inline constexpr const char* kPurple = "#CC79A7";
inline constexpr const char* kGrey = "#999999";
inline constexpr const char* kBlack = "#000000";
}  // namespace colour

/// The n-th of the colours for lines of one kind; they repeat after seven.
[[nodiscard]] const char* line_colour(std::size_t n);
/// The colour at `position` (0 to 1) of the palette viridis, for lines in an order.
[[nodiscard]] std::string ordered_colour(double position);
/// Commands that set the palette of heat maps: viridis, and one from blue over white to red for signed figures.
[[nodiscard]] std::string heat_palette();
[[nodiscard]] std::string signed_palette();

/// Text in gnuplot's single quotes, in which only the quote itself is special.
[[nodiscard]] std::string gnuplot_word(const std::string& text);
/// A number as data blocks hold it; "NaN" for those that are none, which gnuplot leaves out.
[[nodiscard]] std::string gnuplot_number(double value);
/// `$name << EOD ...`, one row a line.
[[nodiscard]] std::string data_block(const std::string& name, const std::vector<std::vector<double>>& rows);
/// "set ytics ('a' 0, 'b' 1) noenhanced": names at whole numbers of an axis, "x" or "y", long ones cut in the middle.
[[nodiscard]] std::string name_ticks(const std::string& axis, const std::vector<std::string>& names,
                                     const std::string& more = "");
/// A name that takes at most `most` letters: its middle makes place for an ellipsis.
[[nodiscard]] std::string short_name(const std::string& name, std::size_t most = 26);

/// Whether positive figures spread over more than two powers of ten, so that a logarithmic axis does them justice;
/// false where one is not positive.
[[nodiscard]] bool ranges_widely(const std::vector<double>& values);

/// One line of a `plot` command: the given column of the block's rows over their first one, columns counted from 1. A
/// value without a neighbour has no line to it, so that dots mark the values where there is such a one.
[[nodiscard]] std::string plotted_line(const std::string& block, const std::vector<std::vector<double>>& rows,
                                       std::size_t column, const std::string& colour, const std::string& title,
                                       const std::string& stroke = "lw 2");

}  // namespace gradwise
