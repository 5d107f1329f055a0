#pragma once

#include <string>
#include <utility>
#include <vector>

namespace gradwise {

/// A root cause: which rules point at it and how strongly, and which other causes it brings about.
struct Cause {
  std::string name;
  std::string title;
  std::string remedy;
  std::vector<std::pair<std::string, double>> signs;  ///< rule and weight
  std::vector<std::string> brings;                    ///< causes that follow from it
};

/// All that a diagnosis knows. No cause brings about itself, over others neither.
[[nodiscard]] const std::vector<Cause>& causes();

}  // namespace gradwise
