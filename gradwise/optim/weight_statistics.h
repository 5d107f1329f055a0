#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "gradwise/core/reading.h"
#include "gradwise/core/step_info.h"

namespace gradwise {

/// Puts what was measured of all parameters' update as the step's figures; the ratio is NaN where the weights were 0.
void put_update(const WeightMoments& all, StepInfo& info);

/// Measures what an update did to the weights: parameter norm, update norm and their ratio. Keeps one copy of the
/// parameters, made at the first measurement and used again.
class WeightStatistics {
 public:
  void before_update(const std::vector<at::Tensor>& parameters);
  /// One copy to the host.
  void after_update(const std::vector<at::Tensor>& parameters, StepInfo& info);

 private:
  std::vector<at::Tensor> before_;
  at::Tensor norm_before_;
};

}  // namespace gradwise
