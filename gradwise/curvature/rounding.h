#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// Relative rounding of an operator's products, which are given as float64 whatever they were made in.
[[nodiscard]] double epsilon_of(const LinearOperator& matrix);

/// A vector that is shorter than this share without its part in an orthonormal basis is orthogonalised once more: what
/// rounding has left of that part weighs as much more as it is shorter (Daniel, Gragg, Kaufman and Stewart,
/// "Reorthogonalization and Stable Algorithms for Updating the Gram-Schmidt QR Factorization", 1976).
inline constexpr double kNearlyInside = 0.5;

/// Type and device of the vectors that a method keeps between products: the operator's, of float32 at least.
[[nodiscard]] at::TensorOptions basis_options(const LinearOperator& matrix);

/// An Error of kind failure where `left`, products u'Av, and `right`, v'Au, differ by more than rounding: by more than
/// the root of the operator's epsilon times `scale`, the magnitude of the products.
void check_symmetric(const char* place, const LinearOperator& matrix, const at::Tensor& left, const at::Tensor& right,
                     double scale);

}  // namespace gradwise
