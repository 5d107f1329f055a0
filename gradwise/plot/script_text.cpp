#include "gradwise/plot/script_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace gradwise {
namespace {

constexpr std::array<const char*, 7> kLines = {colour::kBlue,   colour::kVermilion, colour::kGreen, colour::kPurple,
                                               colour::kOrange, colour::kSky,       colour::kBlack};
// Viridis (van der Walt and Smith, 2015) at ninths.
constexpr std::array<const char*, 10> kViridis = {"#440154", "#482878", "#3e4989", "#31688e", "#26828e",
                                                  "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"};

bool has_lone_value(const std::vector<std::vector<double>>& rows, std::size_t position) {
  const auto drawn = [&rows, position](std::size_t row) { return std::isfinite(rows[row][position]); };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const bool joined = (i > 0 && drawn(i - 1)) || (i + 1 < rows.size() && drawn(i + 1));
    if (drawn(i) && !joined) {
      return true;
    }
  }
  return false;
}

}  // namespace

const char* line_colour(std::size_t n) { return kLines[n % kLines.size()]; }

std::string ordered_colour(double position) {
  // The brightest end is hard to see as a line on white.
  const double place = std::clamp(position, 0.0, 1.0) * 8;
  return kViridis[static_cast<std::size_t>(std::lround(place))];
}

std::string heat_palette() {
  std::string text = "set palette defined (";
  for (std::size_t i = 0; i < kViridis.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(i) + " '" + kViridis[i] + "'";
  }
  return text + ")\n";
}

std::string signed_palette() {
  return "set palette defined (-1 '#2166ac', -0.5 '#92c5de', 0 '#f7f7f7', 0.5 '#f4a582', 1 '#b2182b')\n";
}

std::string gnuplot_word(const std::string& text) {
  std::string word = "'";
  for (const char letter : text) {
    word += letter == '\'' ? std::string("''") : letter == '\n' ? std::string(" ") : std::string(1, letter);
  }
  return word + "'";
}

std::string gnuplot_number(double value) {
  if (!std::isfinite(value)) {
    return "NaN";
  }
  char text[32];
  std::snprintf(text, sizeof text, "%.7g", value);
  return text;
}

std::string data_block(const std::string& name, const std::vector<std::vector<double>>& rows) {
  std::string text = "$" + name + " << EOD\n";
  for (const std::vector<double>& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      text += (i > 0 ? " " : "") + gnuplot_number(row[i]);
    }
    text += '\n';
  }
  return text + "EOD\n";
}

std::string short_name(const std::string& name, std::size_t most) {
  if (name.size() <= most) {
    return name;
  }
  const std::size_t left = (most - 1) / 2;
  return name.substr(0, left) + "…" + name.substr(name.size() - (most - 1 - left));
}

std::string name_ticks(const std::string& axis, const std::vector<std::string>& names, const std::string& more) {
  std::string text = "set " + axis + "tics (";
  for (std::size_t i = 0; i < names.size(); ++i) {
    text += (i > 0 ? ", " : "") + gnuplot_word(short_name(names[i])) + " " + std::to_string(i);
  }
  return text + ") noenhanced " + more + "\n";
}

bool ranges_widely(const std::vector<double>& values) {
  double least = INFINITY;
  double largest = 0;
  for (const double value : values) {
    if (std::isfinite(value)) {
      least = std::min(least, value);
      largest = std::max(largest, value);
    }
  }
  return least > 0 && largest > 100 * least;
}

std::string plotted_line(const std::string& block, const std::vector<std::vector<double>>& rows, std::size_t column,
                         const std::string& colour, const std::string& title, const std::string& stroke) {
  const char* style = has_lone_value(rows, column - 1) ? "linespoints pt 7 ps 0.7 " : "lines ";
  return "$" + block + " using 1:" + std::to_string(column) + " with " + style + stroke + " lc rgb '" + colour +
         "' title " + gnuplot_word(short_name(title));
}

}  // namespace gradwise
