#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/core/error.h"
#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// `b` as float64 on the operator's device. Errors: another shape than (size()), an element that is not finite.
[[nodiscard]] inline at::Tensor right_side(const char* place, const LinearOperator& matrix, const at::Tensor& b) {
  GRADWISE_CHECK(b.dim() == 1 && b.numel() == matrix.size(), place, "b has the shape ", b.sizes(), ", allowed: [",
                 matrix.size(), "]");
  const at::Tensor right = b.detach().to(matrix.options().device(), at::kDouble);
  GRADWISE_CHECK(right.isfinite().all().item<bool>(), place, "b has elements that are not finite");
  return right;
}

}  // namespace gradwise
