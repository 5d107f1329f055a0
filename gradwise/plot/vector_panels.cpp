#include "gradwise/plot/vector_panels.h"

#include <algorithm>
#include <cmath>

#include "gradwise/plot/script_text.h"

namespace gradwise {
namespace {

constexpr double kLeastDensity = 1e-6;  // what a logarithmic axis begins with
constexpr std::size_t kMostPrinted = 12;
constexpr std::size_t kMostUpright = 5;  // names on the x axis that need no turning

std::string x_names(const std::vector<std::string>& names) {
  const bool turned = names.size() > kMostUpright ||
                      std::ranges::any_of(names, [](const std::string& name) { return name.size() > 12; });
  return name_ticks("x", names, turned ? "rotate by -35 left" : "") + (turned ? "set bmargin 7\n" : "");
}

}  // namespace

Panel correlation_panel(const std::string& title, const std::vector<double>& matrix,
                        const std::vector<std::string>& names) {
  const std::size_t n = names.size();
  std::vector<std::vector<double>> cells;
  for (std::size_t row = 0; row < n; ++row) {
    for (std::size_t column = 0; column < n; ++column) {
      cells.push_back({static_cast<double>(column), static_cast<double>(row), matrix[row * n + column]});
    }
  }
  std::string text = data_block("cells", cells) + signed_palette() + name_ticks("y", names) + x_names(names) +
                     "set cbrange [-1:1]\nset cblabel 'cosine'\nset yrange [" + std::to_string(n) +
                     "-0.5:-0.5]\nset xrange [-0.5:" + std::to_string(n) +
                     "-0.5]\nunset grid\nset rmargin 16\nset lmargin 24\nset size ratio -1\n"
                     "plot $cells using 1:2:3 with image notitle";
  if (n <= kMostPrinted) {
    // White where the palette's relative luminance is below 0.18, at which black and white stand out alike.
    text +=
        ", $cells using 1:2:(sprintf('%.2f', abs($3) < 0.005 ? 0 : $3)):($3 > 0.82 || $3 < -0.9 ? 0xffffff : 0) "
        "with labels font 'sans,9' textcolor rgb variable notitle";
  }
  return {title, text, std::clamp(0.5 + 0.16 * static_cast<double>(n), 1.2, 3.0)};
}

Panel spectrum_panel(const std::string& title, const std::vector<std::pair<double, double>>& density,
                     const std::vector<double>& errors) {
  const bool band = !density.empty() && errors.size() == density.size();
  std::vector<std::vector<double>> rows;
  for (std::size_t i = 0; i < density.size(); ++i) {
    const auto& [value, share] = density[i];
    const double error = band ? errors[i] : 0;
    rows.push_back({value, std::max(share, kLeastDensity), std::max(share - error, kLeastDensity),
                    std::max(share + error, kLeastDensity)});
  }
  std::string text =
      data_block("spectrum", rows) +
      "set logscale y\nset xlabel 'eigenvalue'\nset ylabel 'density'\nset yrange [1e-6:*]\nset format y '10^{%T}'\n";
  text +=
      band ? "plot $spectrum using 1:3:4 with filledcurves fc rgb '" + std::string(colour::kSky) +
                 "' title 'one standard error', "
           : "plot $spectrum using 1:2 with filledcurves y1=1e-6 fc rgb '" + std::string(colour::kSky) + "' notitle, ";
  return {title, text + plotted_line("spectrum", rows, 2, colour::kBlue, "density")};
}

Panel bar_panel(const std::string& title, const std::string& axis, const std::vector<std::string>& names,
                const std::vector<double>& values, const std::vector<double>& errors) {
  const bool whiskers = !values.empty() && errors.size() == values.size();
  std::vector<std::vector<double>> rows;
  for (std::size_t i = 0; i < values.size(); ++i) {
    rows.push_back({static_cast<double>(i), values[i]});
    if (whiskers) {
      rows.back().push_back(errors[i]);
    }
  }
  const bool negative = std::ranges::any_of(values, [](double value) { return value < 0; });
  // Bars have to begin at 0, which a logarithmic axis does not have.
  const bool points = !whiskers && ranges_widely(values);
  const char* range = points ? "set logscale y\nset format y '10^{%T}'\n" : negative ? "" : "set yrange [0:*]\n";
  const std::string bars = std::string("plot $bars using 1:2 with ") + (points ? "points pt 7 ps 1.5" : "boxes") +
                           " lc rgb '" + colour::kBlue + "' notitle";
  return {title, data_block("bars", rows) + x_names(names) + range + "set ylabel " + gnuplot_word(axis) +
                     "\nset boxwidth 0.7\nset style fill solid 0.9\nset rmargin 4\nset xrange [-0.7:" +
                     std::to_string(values.size()) + "-0.3]\n" + bars +
                     (whiskers ? ", $bars using 1:2:3 with yerrorbars pt 7 ps 0.4 lw 1.5 lc rgb '" +
                                     std::string(colour::kBlack) + "' notitle"
                               : "")};
}

Panel depth_panel(const std::string& title, const std::string& axis, const std::vector<std::string>& names,
                  const std::vector<NamedLine>& lines) {
  std::vector<std::vector<double>> rows(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    rows[i].push_back(static_cast<double>(i));
    for (const NamedLine& line : lines) {
      rows[i].push_back(line.values[i] > 0 ? line.values[i] : std::nan(""));
    }
  }
  std::string text = data_block("depth", rows) + x_names(names) +
                     "set logscale y\nset format y '10^{%T}'\nset ylabel " + gnuplot_word(axis) +
                     "\nset xrange [-0.3:" + std::to_string(names.size()) + "-0.7]\nplot ";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const double position = lines.size() > 1 ? static_cast<double>(i) / static_cast<double>(lines.size() - 1) : 0.3;
    text += (i > 0 ? ", " : "") + std::string("$depth using 1:") + std::to_string(i + 2) +
            " with linespoints lw 2 pt 7 ps 0.7 lc rgb '" + ordered_colour(position) + "' title " +
            gnuplot_word(short_name(lines[i].name));
  }
  return {title, text, names.size() > kMostUpright ? 1.4 : 1.2};
}

}  // namespace gradwise
