#pragma once

#include <cstdint>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

struct LanczosOptions {
  std::int64_t steps = 40;  ///< products at most, and vectors that are kept
  double tolerance = 1e-3;  ///< of an eigenvalue, relative to the largest magnitude
  std::int64_t seed = 0;    ///< of the first vector; the global generators are not touched
  bool keep_basis = false;  ///< give the vectors too
};

template <class Fields>
void describe(Fields& fields, LanczosOptions& o) {
  fields.add("steps", o.steps, "products at most, and vectors that are kept", at_least(1));
  fields.add("tolerance", o.tolerance, "of an eigenvalue, relative to the largest magnitude", at_least(0));
  fields.add("seed", o.seed, "of the first vector", anything());
  fields.add("keep_basis", o.keep_basis, "give the vectors too", anything());
}

/// Eigenvalues of the tridiagonal matrix that Lanczos' method makes.
struct LanczosResult {
  std::vector<double> values;   ///< Ritz values, in descending order
  std::vector<double> errors;   ///< a bound on each one's distance to an eigenvalue: |beta_m * last component|
  std::vector<double> weights;  ///< of Gauss quadrature: squares of the first components, their sum is 1
  std::int64_t products = 0;
  at::Tensor basis;  ///< (products, size()), orthonormal rows; undefined unless asked for
};

/// Lanczos' method with each vector orthogonalised against all before, twice where rounding asks for it (Golub and Van
/// Loan, "Matrix Computations", 4th edition, 10.1 and 10.3). It ends early where the space is exhausted or the
/// outermost `wanted` values at the upper end are within the tolerance. Vectors have the operator's type, of float32 at
/// least; the memory is that of min(steps, size()) of them. Of an eigenvalue that occurs several times it sees one;
/// eigenpairs sees them all.
///
/// Errors: `wanted` or `steps` below 1, a negative tolerance, an operator without rows; of kind failure, a product that
/// is not finite, an operator that is found not to be symmetric.
[[nodiscard]] LanczosResult lanczos(const LinearOperator& matrix, std::int64_t wanted = 1,
                                    const LanczosOptions& options = {});

}  // namespace gradwise
