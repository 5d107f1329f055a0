#pragma once

#include <cstdint>
#include <limits>

#include "gradwise/core/state.h"
#include "gradwise/train/loop_options.h"

namespace gradwise {

/// Follows a monitored figure: which value is the best, and for how many validations none was better.
class EarlyStopping {
 public:
  EarlyStopping(EarlyStoppingOptions options, bool larger_is_better);

  /// Takes the figure of a validation at `step`; true where it is the best so far (by more than min_delta). NaN never
  /// is.
  bool update(double value, std::int64_t step);
  [[nodiscard]] bool should_stop() const { return options_.patience > 0 && waited_ >= options_.patience; }

  /// The best value, NaN before the first.
  [[nodiscard]] double best() const { return best_; }
  [[nodiscard]] std::int64_t best_step() const { return best_step_; }
  [[nodiscard]] std::int64_t waited() const { return waited_; }

  [[nodiscard]] State state() const;
  void load_state(const State& state);

 private:
  EarlyStoppingOptions options_;
  bool larger_is_better_;
  double best_ = std::numeric_limits<double>::quiet_NaN();
  std::int64_t best_step_ = -1;
  std::int64_t waited_ = 0;
};

}  // namespace gradwise
