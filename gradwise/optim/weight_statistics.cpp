#include "gradwise/optim/weight_statistics.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_sub.h>

#include <cmath>

#include "gradwise/optim/clipping.h"
#include "gradwise/optim/scalar_readings.h"

namespace gradwise {

void put_update(const WeightMoments& all, StepInfo& info) {
  info.param_norm = std::sqrt(all.sum_squares);
  info.update_norm = std::sqrt(all.update_squares);
  info.update_ratio = all.squares_before > 0 ? std::sqrt(all.update_squares / all.squares_before) : kNotMeasured;
}

void WeightStatistics::before_update(const std::vector<at::Tensor>& parameters) {
  const at::NoGradGuard no_grad;
  if (before_.size() != parameters.size()) {  // at first, and where one was unfrozen
    before_.clear();
    for (const at::Tensor& parameter : parameters) {
      before_.push_back(parameter.detach().clone());
    }
  } else {
    at::_foreach_copy_(before_, parameters);
  }
  norm_before_ = global_norm(before_);
}

void WeightStatistics::after_update(const std::vector<at::Tensor>& parameters, StepInfo& info) {
  const at::NoGradGuard no_grad;
  at::_foreach_sub_(before_, parameters);
  const std::vector<double> norms = read_scalars({global_norm(before_), global_norm(parameters), norm_before_});
  info.update_norm = norms[0];
  info.param_norm = norms[1];
  info.update_ratio = norms[0] / norms[2];
}

}  // namespace gradwise
