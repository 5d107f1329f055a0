#pragma once

#include <string>
#include <utility>
#include <vector>

#include "gradwise/plot/canvas.h"

/// Panels of plain numbers, from wherever they come.
namespace gradwise {

/// A symmetric matrix of figures between -1 and 1, row by row; the figures stand in the cells where there are few.
[[nodiscard]] Panel correlation_panel(const std::string& title, const std::vector<double>& matrix,
                                      const std::vector<std::string>& names);

/// Eigenvalues and their density, as pairs in order; with a band of one standard error where `errors` has as many.
[[nodiscard]] Panel spectrum_panel(const std::string& title, const std::vector<std::pair<double, double>>& density,
                                   const std::vector<double>& errors = {});

/// A bar for each name, with whiskers of `errors` where there are as many. Without whiskers, figures that range over
/// more than two powers of ten are points on a logarithmic axis.
[[nodiscard]] Panel bar_panel(const std::string& title, const std::string& axis, const std::vector<std::string>& names,
                              const std::vector<double>& values, const std::vector<double>& errors = {});

/// Lines over names in an order (layers by depth), one for each entry of `lines`, with a logarithmic y axis.
struct NamedLine {
  std::string name;
  std::vector<double> values;
};
[[nodiscard]] Panel depth_panel(const std::string& title, const std::string& axis,
                                const std::vector<std::string>& names, const std::vector<NamedLine>& lines);

}  // namespace gradwise
