#pragma once

#include <cmath>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/plot/canvas.h"

namespace gradwise {

/// How the whole network is called beside its layers.
inline constexpr const char* kWholeNetwork = "all";

/// A figure with its error.
struct NamedFigure {
  std::string name;
  double value = std::nan("");
  double error = std::nan("");
};

/// What is drawn of a Hessian; what is empty or NaN is not.
struct HessianFigures {
  std::vector<NamedFigure> largest;                ///< eigenvalue of the whole network, then of each layer's block
  std::vector<NamedFigure> traces;                 ///< in the same order
  std::vector<std::pair<double, double>> density;  ///< eigenvalue and density
  std::vector<double> density_errors;
  NamedFigure edge;  ///< learning rate x largest eigenvalue, by the optimizer's name; not drawn where it is 0
  double edge_threshold = std::nan("");
  bool edge_preconditioned = false;  ///< the eigenvalue is not the Hessian's own
};

/// Those of the `hessian` of an analysis as JSON (analysis/analysis_json.h): null is NaN, and of an earlier version
/// layers, the density's errors and the edge may be missing; none where it has no eigenvalues. Error: a
/// nlohmann::json::exception of JSON that is no such object.
[[nodiscard]] HessianFigures hessian_figures(const nlohmann::json& hessian);

/// Bars of the largest eigenvalues and of the traces, the density, and how near the edge of stability is.
[[nodiscard]] std::vector<Panel> hessian_panels(const HessianFigures& figures);

}  // namespace gradwise
