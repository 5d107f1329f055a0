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
  std::int64_t vectors = 10;  ///< independent, for the standard error; at most, where a tolerance is asked
  std::int64_t seed = 0;
  double tolerance = 0;  ///< of the figure, relative to it; 0: none is asked
};

template <class Fields>
void describe(Fields& fields, QuadratureOptions& o) {
  fields.add("steps", o.steps, "of Lanczos, for each vector", at_least(2));
  fields.add("vectors", o.vectors, "random vectors, at most", at_least(2));
  fields.add("seed", o.seed, "of the random vectors", anything());
  fields.add("tolerance", o.tolerance,
             "half of the 95 % interval over the value, or of the density's band over its peak; 0: all vectors",
             at_least(0));
}

/// Runs of Lanczos from all `vectors`, independent, for quadrature: `steps` products each, and those of several runs
/// together, so that an operator over a data set goes over it once for them. Vectors are not orthogonalised against
/// those before, and not kept: an eigenvalue that has converged comes back and shares its weight, which leaves the
/// quadrature as exact (Knizhnerman, "The Simple Lanczos Procedure: Estimates of the Error of the Gauss Quadrature
/// Formula and Their Applications", 1996). For eigenvalues that come once take `lanczos`.
[[nodiscard]] std::vector<LanczosResult> quadrature_runs(const LinearOperator& matrix,
                                                         const QuadratureOptions& options = {});

/// A density from as many vectors as it takes.
struct SampledDensity {
  std::vector<DensityPoint> points;
  std::int64_t samples = 0;   ///< random vectors
  std::int64_t products = 0;  ///< with the matrix
  bool converged = true;      ///< the asked tolerance was reached; true where none was asked
};

/// Whether half of the 95 % band is at every point no wider than `tolerance` times the density's peak.
[[nodiscard]] bool within(const SampledDensity& density, double tolerance);

/// spectral_density of quadrature_runs. With a tolerance the number of vectors doubles from 10 on until the density is
/// within it. Errors: options that are not allowed; those of a product.
[[nodiscard]] SampledDensity sampled_density(const LinearOperator& matrix, const QuadratureOptions& quadrature = {},
                                             const DensityOptions& options = {});

/// log det(A + damping I) = tr log(A + damping I), by stochastic Lanczos quadrature (Ubaru, Chen and Saad, "Fast
/// Estimation of tr(f(A)) via Stochastic Lanczos Quadrature", 2017, algorithm 1). The standard error is over the
/// vectors, whose number doubles from 10 on where a tolerance is asked; that of too few steps it does not see: about
/// sqrt(condition) log(1 / error) are needed (section 4.2). Errors: a negative damping, options that are not allowed;
/// of kind failure, an eigenvalue that is not positive with the damping.
[[nodiscard]] Estimate log_determinant(const LinearOperator& matrix, double damping = 0,
                                       const QuadratureOptions& options = {});

}  // namespace gradwise
