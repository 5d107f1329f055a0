#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "gradwise/core/fields.h"

namespace gradwise {

/// How gradients are kept in bounds before the update.
struct ClipOptions {
  std::string method = "norm";
  double max_norm = 1.0;
  double max_value = 1.0;
  double agc_lambda = 0.01;
  double agc_eps = 1e-3;
};

template <class Fields>
void describe(Fields& fields, ClipOptions& o) {
  fields.add("method", o.method, "norm: global L2 norm; value: each element; agc: each unit against its weights",
             one_of({"norm", "value", "agc", "none"}));
  fields.add("max_norm", o.max_norm, "norm: largest global L2 norm of the gradients", positive());
  fields.add("max_value", o.max_value, "value: largest absolute value of an element", positive());
  fields.add("agc_lambda", o.agc_lambda, "agc: largest ratio of a unit's gradient norm to its weight norm", positive());
  fields.add("agc_eps", o.agc_eps, "agc: smallest weight norm that counts", positive());
}

/// The L2 norm over all elements of all tensors as a scalar tensor on their device (float32, or float64 where the
/// first tensor is float64); sparse gradients count by their coalesced values. Undefined tensors are not allowed.
[[nodiscard]] at::Tensor global_norm(const std::vector<at::Tensor>& tensors);

/// What gradients of this norm are multiplied by: min(1, max_norm / (norm + 1e-6)).
[[nodiscard]] inline double clip_coefficient(double norm, double max_norm) {
  const double coefficient = max_norm / (norm + 1e-6);
  return coefficient < 1 ? coefficient : 1;
}

/// Multiplies the gradients in place by min(1, max_norm / (norm + 1e-6)), as `torch.nn.utils.clip_grad_norm_` does,
/// where `norm` has been read already. Returns whether it scaled.
bool clip_by_norm(const std::vector<at::Tensor>& gradients, double norm, double max_norm);

/// Clamps every element to [-max_value, max_value] in place (`torch.nn.utils.clip_grad_value_`).
void clip_by_value(const std::vector<at::Tensor>& gradients, double max_value);

/// Adaptive gradient clipping (Brock et al. 2021, eq. 3): a unit is a row along dimension 0, and the whole tensor
/// where there is one dimension or none. Scales unit i by λ·max(‖w_i‖, ε)/‖g_i‖ where ‖g_i‖ is above that.
void clip_adaptively(const std::vector<at::Tensor>& parameters, const std::vector<at::Tensor>& gradients, double lambda,
                     double eps);

}  // namespace gradwise
