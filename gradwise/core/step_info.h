#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gradwise/core/severity.h"

namespace gradwise {

inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

/// The value, for printf and streams: NaN without a sign, which they would write as "-nan".
[[nodiscard]] inline double plain_nan(double value) { return std::isnan(value) ? kNotMeasured : value; }

/// Something that deserves a person's attention: what, where, how much, and what to do about it.
struct Issue {
  using Severity = gradwise::Severity;

  Severity severity = Severity::warning;
  std::string rule = {};   ///< short name, as in "nonfinite_gradient"
  std::string layer = {};  ///< parameter or layer it is about; empty for the whole model
  std::int64_t step = 0;
  double value = kNotMeasured;      ///< the figure that was seen
  double threshold = kNotMeasured;  ///< the figure it was compared with
  std::string message = {};         ///< one readable line
  std::string advice = {};          ///< what to do
};

/// Wall time of the phases of one optimizer step, in seconds, summed over its micro-batches.
struct StepTimes {
  double data = 0;
  double forward = 0;
  double backward = 0;
  double clip = 0;    ///< unscaling, norm, check and clipping
  double update = 0;  ///< the optimizer, and the average where there is one
  double total = 0;   ///< of all phases
};

/// What one optimizer step did. Quantities that were not computed in this step are NaN (`kNotMeasured`).
struct StepInfo {
  std::int64_t step = 0;   ///< optimizer steps done, this one included; skipped ones count too
  std::int64_t epoch = 0;  ///< from 0
  std::int64_t samples = 0;
  std::int64_t micro_batches = 0;
  double loss = kNotMeasured;               ///< mean over the samples of the step
  bool loss_told = true;                    ///< false: nobody said what it was, which its NaN stands for
  double grad_norm = kNotMeasured;          ///< global L2 norm before clipping, after unscaling
  double grad_norm_clipped = kNotMeasured;  ///< and after clipping
  bool clipped = false;
  bool skipped = false;              ///< no update: the gradients were not finite, or an observer said so
  std::int64_t skipped_in_all = 0;   ///< of this optimizer so far
  double lr = kNotMeasured;          ///< of the first parameter group, as used in this step
  double param_norm = kNotMeasured;  ///< global L2 norm of the parameters after the update
  double update_norm = kNotMeasured;
  double update_ratio = kNotMeasured;  ///< update_norm over the parameters' norm before the update
  double loss_scale = 1;               ///< of the gradient scaler
  double peak_bytes = kNotMeasured;    ///< most that tensors of the step took at once, by the allocators
  StepTimes seconds;
  std::vector<Issue> issues;
};

/// Whether the loss is known to be inf or NaN.
[[nodiscard]] inline bool has_nonfinite_loss(const StepInfo& step) {
  return step.loss_told && !std::isfinite(step.loss);
}

}  // namespace gradwise
