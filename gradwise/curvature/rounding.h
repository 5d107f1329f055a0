#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// Relative rounding of a type of floating point.
[[nodiscard]] double epsilon_of(at::ScalarType type);
/// Of an operator's products, which are given as float64 whatever they were made in.
[[nodiscard]] double epsilon_of(const LinearOperator& matrix);

/// A part of a product that is shorter than this share of the matrix' magnitude may be rounding alone: 100 epsilon. Of
/// types of 16 bits that would be most of the product; then it is a quarter of what check_symmetric lets pass, 2 % in
/// bfloat16 and 0.8 % in float16, a few times what products of models in these types are off.
[[nodiscard]] double rounding_share(const LinearOperator& matrix);

/// A vector that is shorter than this share without its part in an orthonormal basis is orthogonalised once more: what
/// rounding has left of that part weighs as much more as it is shorter (Daniel, Gragg, Kaufman and Stewart,
/// "Reorthogonalization and Stable Algorithms for Updating the Gram-Schmidt QR Factorization", 1976).
inline constexpr double kNearlyInside = 0.5;

/// A new direction that is this short beside the matrix is rounding: the space of the vectors before is exhausted.
inline constexpr double kExhausted = 1e-7;

/// Type and device of the vectors that a method keeps between products: the operator's, of float32 at least.
[[nodiscard]] at::TensorOptions basis_options(const LinearOperator& matrix);

/// An Error of kind failure where `left`, products u'Av, and `right`, v'Au, differ by more than rounding: by more than
/// the root of the operator's epsilon times `scale`, the magnitude of the products.
void check_symmetric(const char* place, const LinearOperator& matrix, const at::Tensor& left, const at::Tensor& right,
                     double scale);

}  // namespace gradwise
