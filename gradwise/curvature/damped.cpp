#include "gradwise/curvature/damped.h"

#include <cmath>

#include "gradwise/core/error.h"

namespace gradwise {

Damped::Damped(const LinearOperator& matrix, double damping) : matrix_(matrix), damping_(damping) {
  GRADWISE_CHECK(std::isfinite(damping) && damping >= 0, "damped", "damping is ", damping, ", allowed: >= 0");
}

at::Tensor Damped::apply(const at::Tensor& vector) const { return matrix_.apply(vector).add(vector, damping_); }

at::Tensor Damped::apply_columns(const at::Tensor& columns) const {
  return matrix_.apply_columns(columns).add(columns, damping_);
}

}  // namespace gradwise
