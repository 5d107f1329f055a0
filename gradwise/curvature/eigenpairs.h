#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

struct EigenOptions {
  std::int64_t largest = 1;               ///< how many at the upper end
  std::int64_t smallest = 0;              ///< how many at the lower end: the most negative ones, not those nearest to 0
  double tolerance = 1e-6;                ///< over the largest magnitude; no less than rounding_share()
  std::string tolerance_of = "residual";  ///< what it bounds: "residual", or "value" for the error of eigenvalues alone
  std::int64_t products = 1000;           ///< with the matrix, at most
  std::int64_t block = 1;                 ///< vectors that grow the basis together; lobpcg: that it holds, at least
  std::int64_t basis = 0;                 ///< vectors that are kept, beside a block; 0: as many as do well
  std::int64_t seed = 0;
  std::string method = "lanczos";  ///< lanczos, or lobpcg, which takes a preconditioner
  /// For lobpcg: positive definite, of the matrix' size and device, and like the inverse of the matrix less the
  /// eigenvalues that are asked for: for the smallest of a definite matrix, like its inverse. Null: none.
  const LinearOperator* preconditioner = nullptr;
};

template <class Fields>
void describe(Fields& fields, EigenOptions& o) {
  fields.add("largest", o.largest, "eigenvalues at the upper end", at_least(0));
  fields.add("smallest", o.smallest, "eigenvalues at the lower end", at_least(0));
  fields.add("tolerance", o.tolerance, "over the largest magnitude", at_least(0));
  fields.add("tolerance_of", o.tolerance_of, "what the tolerance bounds", one_of({"residual", "value"}));
  fields.add("products", o.products, "products with the matrix, at most", at_least(1));
  fields.add("block", o.block, "vectors that grow the basis together", at_least(1));
  fields.add("basis", o.basis, "vectors that are kept; 0: as many as do well", at_least(0));
  fields.add("seed", o.seed, "of the first vectors", anything());
  fields.add("method", o.method, "how they are found", one_of({"lanczos", "lobpcg"}));
}

struct Eigenpairs {
  std::vector<double> values;  ///< in descending order: the largest, then the smallest, the least last
  at::Tensor vectors;          ///< (size(), number of values), orthonormal columns, float64
  /// |A v - value v|: an eigenvalue is that near to the value. By a product for each; where they all are far above
  /// rounding, by Lanczos' recurrence, which has them right to 1 % then.
  std::vector<double> residuals;
  /// Of each value: min(r, r^2 / gap), r its residual and the gap that to the values beside it, as far as they are
  /// known (Kato and Temple; Parlett, "The Symmetric Eigenvalue Problem", 1998, theorem 10-1-2 and 11-7-1).
  std::vector<double> errors;
  std::int64_t products = 0;
  std::int64_t restarts = 0;
  bool converged = false;  ///< what the tolerance bounds is within it
};

/// Eigenpairs at the ends of the spectrum. Bases have the operator's type, of float32 at least.
///
/// lanczos: thick restarts (Wu and Simon, "Thick-Restart Lanczos Method for Large Symmetric Eigenvalue Problems", 2000)
/// in block form, from the operator's `leaning()` and random directions, each vector orthogonalised against all that
/// are kept, twice where rounding asks for it. Memory is that of `basis` + 2 `block` vectors, twice that at a restart.
/// An eigenvalue that occurs m times is found m times where `block` >= m; with a smaller one copies may be missing,
/// which no residual shows.
///
/// lobpcg: see lobpcg.h. It takes more products than Lanczos, unless a preconditioner tells it where to look: then far
/// fewer at an end where eigenvalues are close. Copies are found as far as the block goes, which is no narrower than
/// what is asked for.
///
///   const Eigenpairs top = eigenpairs(Hessian(model, loss, x, y), {.largest = 5, .smallest = 2});
///   const EigenOptions options{.largest = 0, .smallest = 3, .method = "lobpcg", .preconditioner = &inverse};
///   const Eigenpairs low = eigenpairs(A, options);
///
/// Errors: nothing or more than size() asked for, options that are not allowed, an operator without rows; of kind
/// failure, a product that is not finite, an operator that is found not to be symmetric, a preconditioner that is found
/// not to be positive definite, by more than rounding: r'Tr < -s |T| r'r for a residual r, with s = 1e-10 for a
/// preconditioner T of float64, 1e-5 for one of float32.
[[nodiscard]] Eigenpairs eigenpairs(const LinearOperator& matrix, const EigenOptions& options = {});

}  // namespace gradwise
