#pragma once

#include <cstdint>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/curvature/estimate.h"
#include "gradwise/curvature/lanczos.h"

namespace gradwise {

/// A point of a spectral density.
struct DensityPoint {
  double eigenvalue = 0;
  double density = 0;         ///< its integral over all eigenvalues is 1
  double standard_error = 0;  ///< of the density, over the runs; 0 of a single run
};

struct DensityOptions {
  std::int64_t points = 200;  ///< of the grid, from 5 % of the range below the spectrum to 5 % above
  double width = 0.01;        ///< of the Gaussian, over the range
};

template <class Fields>
void describe(Fields& fields, DensityOptions& o) {
  fields.add("points", o.points, "of the grid", at_least(2));
  fields.add("width", o.width, "standard deviation of the Gaussian over the range of the spectrum", positive());
}

/// Density of the spectrum from the quadrature of one or several runs, each value widened to a Gaussian (Lin, Saad and
/// Yang, "Approximating Spectral Densities of Large Matrices", 2016). The band of the standard errors tells how far
/// random vectors differ; what the widening hides it does not tell. Errors: no run, a run without values, an option
/// that is not allowed.
[[nodiscard]] std::vector<DensityPoint> spectral_density(const std::vector<LanczosResult>& runs,
                                                         const DensityOptions& options = {});

struct QuadratureOptions {
  std::int64_t steps = 40;    ///< of Lanczos, and products, for each vector
  std::int64_t vectors = 10;  ///< independent, for the standard error
  std::int64_t seed = 0;
};

template <class Fields>
void describe(Fields& fields, QuadratureOptions& o) {
  fields.add("steps", o.steps, "of Lanczos, for each vector", at_least(2));
  fields.add("vectors", o.vectors, "random vectors", at_least(2));
  fields.add("seed", o.seed, "of the random vectors", anything());
}

/// Runs of Lanczos from independent vectors, for quadrature: `steps` products each.
[[nodiscard]] std::vector<LanczosResult> quadrature_runs(const LinearOperator& matrix,
                                                         const QuadratureOptions& options = {});

/// log det(A + damping I) = tr log(A + damping I), by stochastic Lanczos quadrature (Ubaru, Chen and Saad, "Fast
/// Estimation of tr(f(A)) via Stochastic Lanczos Quadrature", 2017, algorithm 1). The standard error is over the
/// vectors; that of too few steps it does not see: about sqrt(condition) log(1 / error) are needed (section 4.2).
/// Errors: a negative damping, options that are not allowed; of kind failure, an eigenvalue that is not positive with
/// the damping.
[[nodiscard]] Estimate log_determinant(const LinearOperator& matrix, double damping = 0,
                                       const QuadratureOptions& options = {});

}  // namespace gradwise
