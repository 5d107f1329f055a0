#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/record/run_reader.h"

namespace gradwise {

/// A run's readings as pictures want them: the weights that were read, and a bounded number of readings.
struct WatchedRun {
  std::vector<ParameterFacts> parameters;
  std::vector<std::size_t>
      weights;                  ///< positions of the matrices and kernels, at most 40; all parameters where none is
  std::size_t all_weights = 0;  ///< of which `weights` are some
  std::vector<std::shared_ptr<const StepReading>> readings;  ///< at most 300, evenly chosen

  [[nodiscard]] bool empty() const { return weights.empty() || readings.empty(); }
  [[nodiscard]] std::vector<std::string> weight_names() const;
  /// ", 8 of 11" where `shown` are not all weights, else "": for titles.
  [[nodiscard]] std::string shown_of_all(std::size_t shown) const;
  /// A figure of a parameter over the readings, as (step, value) rows.
  [[nodiscard]] std::vector<double> figure(std::size_t parameter, double ParameterReading::* member) const;
  [[nodiscard]] std::vector<double> steps() const;
};

[[nodiscard]] WatchedRun watched_run(const RunReader& run);

/// Margins of panels that stand below one another with the steps on their x axis; in shares of the picture, as a
/// palette beside a panel would widen others.
inline constexpr const char* kStepMargins = "set lmargin at screen 0.21\nset rmargin at screen 0.75\n";

/// A heat map of values, a row for each name and a column for each step.
[[nodiscard]] std::string heat_map(const std::vector<std::string>& names, const std::vector<double>& steps,
                                   const std::vector<std::vector<double>>& rows, const std::string& unit,
                                   bool logarithmic);

/// The first, the last, and evenly chosen ones between them: at most `most` positions below `count`.
[[nodiscard]] std::vector<std::size_t> evenly_chosen(std::size_t count, std::size_t most);

}  // namespace gradwise
