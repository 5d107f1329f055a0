#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// What products with random vectors tell of a matrix's range, in the papers' symbols: A Omega = Q R, Z = A Q. Float64
/// on the operator's device; 2 k products for k vectors.
struct RangeSketch {
  at::Tensor Omega;       ///< (n, k)
  at::Tensor Q;           ///< (n, k), orthonormal columns
  at::Tensor R;           ///< (k, k), upper triangular
  at::Tensor Z;           ///< (n, k)
  bool complete = false;  ///< the range of the sketch is that of the matrix

  [[nodiscard]] std::int64_t columns() const { return Omega.defined() ? Omega.size(1) : 0; }
};

/// More random vectors (n, columns) for a sketch; what it has is kept, and costs no product again. `place` is the
/// estimator's, for errors. Errors of kind failure: a product that is not finite, an operator that is found not to be
/// symmetric.
void grow(const char* place, RangeSketch& sketch, const LinearOperator& matrix, const at::Tensor& vectors);

/// Unit vectors s_i (k, k): Q s_i is the part of Q's range that vector i alone has brought.
[[nodiscard]] at::Tensor own_directions(const RangeSketch& sketch);

/// The inverse of an upper triangular matrix.
[[nodiscard]] at::Tensor inverse_of_upper(const at::Tensor& r);

/// diag(A'B): inner products of columns.
[[nodiscard]] at::Tensor column_products(const at::Tensor& a, const at::Tensor& b);

}  // namespace gradwise
