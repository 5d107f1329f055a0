#pragma once

#include <cstdint>
#include <vector>

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

struct LanczosOptions {
  std::int64_t steps = 40;  ///< products at most, and vectors of float64 that are kept
  double tolerance = 1e-3;  ///< of an eigenvalue, relative to the largest magnitude
  std::int64_t seed = 0;    ///< of the first vector; the global generators are not touched
};

/// Eigenvalues of the tridiagonal matrix that Lanczos' method makes.
struct LanczosResult {
  std::vector<double> values;   ///< Ritz values, in descending order
  std::vector<double> errors;   ///< a bound on each one's distance to an eigenvalue: |beta_m * last component|
  std::vector<double> weights;  ///< of Gauss quadrature: squares of the first components, their sum is 1
  std::int64_t products = 0;
};

/// Lanczos' method with each vector orthogonalised twice against all before (Golub and Van Loan, "Matrix
/// Computations", 4th edition, 10.1 and 10.3). It ends early where the space is exhausted or the outermost
/// `wanted` values at the upper end are within the tolerance. Arithmetic of the recurrence is float64; the memory is
/// that of min(steps, size()) vectors.
///
/// Errors: `wanted` or `steps` below 1, an operator without rows; of kind failure, a product that is not finite.
[[nodiscard]] LanczosResult lanczos(const LinearOperator& matrix, std::int64_t wanted = 1,
                                    const LanczosOptions& options = {});

/// A point of a spectral density.
struct DensityPoint {
  double eigenvalue = 0;
  double density = 0;  ///< its integral over all eigenvalues is 1
};

/// Density of the spectrum from the quadrature of one or several runs, on a grid of 200 points, each value widened to a
/// Gaussian of 1 % of the range (Lin, Saad and Yang, "Approximating Spectral Densities of Large Matrices", 2016).
/// Errors: no run, a run without values.
[[nodiscard]] std::vector<DensityPoint> spectral_density(const std::vector<LanczosResult>& runs);

}  // namespace gradwise
