#include "gradwise/report/stored_analysis.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "gradwise/core/error.h"
#include "gradwise/plot/hessian_panels.h"

namespace gradwise {

std::vector<Panel> stored_hessian_panels(const RunReader& run) {
  const std::filesystem::path path = run.folder() / kAnalysisFile;
  std::ifstream file(path);
  if (!file) {
    return {};
  }
  try {
    const nlohmann::json analysis = nlohmann::json::parse(file);
    std::vector<Panel> panels = hessian_panels(hessian_figures(analysis.at("hessian")));
    // The run may have gone on since.
    for (Panel& panel : panels) {
      panel.title += analysis.contains("step") ? ", at step " + analysis.at("step").dump() : "";
    }
    return panels;
  } catch (const nlohmann::json::exception& error) {
    fail("plot", path.string(), " is not an analysis of this version: ", error.what());
  }
}

}  // namespace gradwise
