#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// Relative rounding of an operator's products, which are given as float64 whatever they were made in.
[[nodiscard]] double epsilon_of(const LinearOperator& matrix);

/// An Error of kind failure where `left`, products u'Av, and `right`, v'Au, differ by more than rounding: by more than
/// the root of the operator's epsilon times `scale`, the magnitude of the products.
void check_symmetric(const char* place, const LinearOperator& matrix, const at::Tensor& left, const at::Tensor& right,
                     double scale);

}  // namespace gradwise
