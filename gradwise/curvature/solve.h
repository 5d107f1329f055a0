#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "gradwise/core/fields.h"
#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

struct SolveOptions {
  double tolerance = 1e-6;       ///< of the residual, over that of x = 0
  std::int64_t products = 1000;  ///< with the matrix, at most
  double damping = 0;
};

template <class Fields>
void describe(Fields& fields, SolveOptions& o) {
  fields.add("tolerance", o.tolerance, "of the residual, over the right side", at_least(0));
  fields.add("products", o.products, "products with the matrix, at most", at_least(4));
  fields.add("damping", o.damping, "added to the diagonal", at_least(0));
}

/// An inverse-vector product.
struct Solution {
  at::Tensor x;         ///< (size()), float64
  double residual = 0;  ///< |b - (A + damping I) x| / |b|, by a product of its own; lsmr: without the damping
  double normal = 0;    ///< lsmr: |A r - damping^2 x| / (|A| |(r, damping x)|), r = b - A x, |A| as far as it was seen
  std::int64_t iterations = 0;
  std::int64_t products = 0;
  bool converged = false;  ///< the tolerance was reached
};

/// (A + damping I) x = b for a matrix that is positive definite with the damping, by conjugate gradients (Hestenes and
/// Stiefel, "Methods of Conjugate Gradients for Solving Linear Systems", 1952); float64 but for the products, one a
/// step. Errors: a `b` of another shape than (size()), options that are not allowed; of kind failure, a product that is
/// not finite, a direction of negative curvature, an operator that is found not to be symmetric.
[[nodiscard]] Solution conjugate_gradients(const LinearOperator& matrix, const at::Tensor& b,
                                           const SolveOptions& options = {});

/// The x of least |A x - b|^2 + damping^2 |x|^2, by LSMR (Fong and Saunders, "LSMR: An Iterative Algorithm for Sparse
/// Least-Squares Problems", 2011), for symmetric matrices of any sign and rank: where A is singular, the x of least
/// length. Two products a step. It ends where the residual is within `tolerance` of |b|, or `normal` is within
/// `tolerance`. Errors as of conjugate_gradients, but for negative curvature, which is allowed.
[[nodiscard]] Solution lsmr(const LinearOperator& matrix, const at::Tensor& b, const SolveOptions& options = {});

}  // namespace gradwise
