#include "gradwise/optim/fused_options.h"

#include <cmath>

namespace gradwise {

StateLines state_lines(const FusedOptions& o) {
  switch (o.rule) {
    case UpdateRule::adam:
      return {true, true, o.amsgrad};
    case UpdateRule::sgd:
      return {o.momentum != 0, false, false};
    case UpdateRule::rmsprop:
      return {o.momentum > 0, true, o.centered};
    case UpdateRule::adagrad:
      return {false, true, false};
    case UpdateRule::lion:
      return {true, false, false};
  }
  return {false, false, false};
}

kernels::UpdateCoefficients coefficients_of(const FusedOptions& o, std::int64_t step) {
  const auto n = static_cast<double>(step);
  kernels::UpdateCoefficients c;
  c.step_size = o.lr;
  c.eps = o.eps;
  c.l2 = o.decoupled ? 0 : o.weight_decay;
  c.keep = o.decoupled ? 1 - o.lr * o.weight_decay : 1;
  switch (o.rule) {
    case UpdateRule::adam:
      c.first_share = 1 - o.beta1;
      c.second_keep = o.beta2;
      c.second_share = 1 - o.beta2;
      c.step_size = o.lr / (1 - std::pow(o.beta1, n));
      c.root_scale = 1 / std::sqrt(1 - std::pow(o.beta2, n));
      break;
    case UpdateRule::sgd:
      c.first_keep = o.momentum;
      c.first_share = step == 1 ? 1 : 1 - o.dampening;  // the first gradient is taken whole
      c.look_ahead = o.nesterov ? o.momentum : 0;
      break;
    case UpdateRule::rmsprop:
      c.first_keep = o.momentum;
      c.second_keep = o.alpha;
      c.second_share = 1 - o.alpha;
      break;
    case UpdateRule::adagrad:
      c.step_size = o.lr / (1 + (n - 1) * o.lr_decay);
      break;
    case UpdateRule::lion:
      c.look_ahead = 1 - o.beta1;
      c.first_share = 1 - o.beta2;
      break;
  }
  return c;
}

}  // namespace gradwise
