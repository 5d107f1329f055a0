#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "gradwise/core/reading.h"

namespace gradwise {

/// The simple noise scale tr(Sigma) / |G|^2 of a training (McCandlish et al., "An Empirical Model of Large-Batch
/// Training", 2018, formula 2.9), from the gradients of successive steps and no pass of its own.
///
/// For two steps of B samples with the same true gradient G, E[g_t . g_t+1] = |G|^2 and E|g|^2 = |G|^2 + tr(Sigma) / B.
/// Both are averaged over steps before the ratio is taken, as the paper does (appendix A.1). The gradient changes
/// between steps: where it turns (a high learning rate), the noise is overstated; `GradientAnalyzer` measures it at one
/// point.
class NoiseScale {
 public:
  /// Takes a step's gradients, of `samples` samples; answers the estimate in samples, NaN before twenty steps were
  /// seen, where successive gradients agree by less than 1 % (there is no signal to compare with), and where none can
  /// be compared, but after a step that was passed over, where it is the estimate so far.
  double add(std::span<const ParameterReading> parameters, std::int64_t samples);

  /// Leaves a step out, as one of a ragged batch, whose gradient is of another noise: neither it nor the pair that it
  /// makes with the step after it counts. Answers the estimate so far.
  double pass_over();

 private:
  [[nodiscard]] double estimate() const;

  double dot_ = 0;     // of successive gradients, averaged
  double square_ = 0;  // squared norm, averaged
  double samples_ = 0;
  double weight_ = 0;
  std::int64_t steps_ = 0;
  bool passed_over_ = false;   // the step before
  std::vector<double> norms_;  // of the gradients of the step before
};

}  // namespace gradwise
