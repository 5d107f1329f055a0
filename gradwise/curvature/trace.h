#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "gradwise/core/fields.h"
#include "gradwise/curvature/estimate.h"
#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// What estimators by random vectors take. Vectors come from a generator of their own: the same options, the same
/// figure. With a tolerance the number of vectors doubles until half of the 95 % interval is within it; products that
/// are made are kept. Errors of all of them: too few `products`, a negative tolerance, an operator without rows; of
/// kind failure, a product that is not finite, and an operator that a sketch finds not to be symmetric.
struct TraceOptions {
  std::int64_t products = 60;  ///< with the matrix, at most; all of them where no tolerance is asked
  std::int64_t seed = 0;
  double tolerance = 0;  ///< relative to the value; 0: none is asked
};

template <class Fields>
void describe(Fields& fields, TraceOptions& o) {
  fields.add("products", o.products, "products with the matrix, at most", at_least(1));
  fields.add("seed", o.seed, "of the random vectors", anything());
  fields.add("tolerance", o.tolerance, "half of the 95 % interval over the value; 0: make all products", at_least(0));
}

/// The trace, from products with random signs (Hutchinson, "A stochastic estimator of the trace of the influence
/// matrix", 1990): unbiased. The variance of a sample is 2 sum a_ij^2 over i != j, twice the sum of the variances of
/// the diagonal's samples, and is taken from these: the spread of the samples themselves is the same on average and far
/// less sure where few eigenvalues make the trace. `products` >= 2.
[[nodiscard]] Estimate hutchinson_trace(const LinearOperator& matrix, const TraceOptions& options = {});

/// Hutch++ (Meyer, Musco, Musco and Woodruff, "Hutch++: Optimal Stochastic Trace Estimation", 2021, algorithm 1): a
/// third of the products finds where the matrix is large, a third takes the trace there exactly, a third samples the
/// rest, on the sphere of the space that is left. Error falls with 1/products where that of Hutchinson's falls with its
/// root. Given the first third, the samples u'Mu are independent, and the variance of one is 2 E|(I - uu'/|u|^2) Mu|^2,
/// which is taken in place of their spread as of hutchinson_trace. `products` >= 6, of which no more than 3 size() are
/// made.
[[nodiscard]] Estimate hutch_plus_plus(const LinearOperator& matrix, const TraceOptions& options = {});

/// XTrace with resphering (Epperly, Tropp and Webber, "XTrace: Making the Most of Every Sample in Stochastic Trace
/// Estimation", 2024, section 2.1 and 2.3): every vector serves to sample and to find where the matrix is large, for
/// all others. For any symmetric matrix. The standard error is not the paper's, which takes the vectors for independent
/// and is too small, but that of exchangeable.h: 95 % intervals hold the trace in 93 to 97 % of trials on the paper's
/// spectra. Exact, with an error of 0, where the rank is below products / 2. `products` >= 4, of which no more than
/// 2 size() are made.
[[nodiscard]] Estimate xtrace(const LinearOperator& matrix, const TraceOptions& options = {});

/// XNysTrace with resphering (the same paper, section 2.2): the form for positive semi-definite matrices such as those
/// of Gauss-Newton and Fisher, with a Nyström approximation and one product a vector. Its standard error is as
/// xtrace's, with fewer degrees of freedom where few vectors make the error (eigenvalues that fall as 0.7^i). Rounding
/// of the products, which the standard error does not see, shows where the error is below the epsilon of the operator's
/// type times ten times the trace. `products` >= 2, of which no more than size() are made. Error of kind failure: a
/// matrix that is found not to be positive semi-definite.
[[nodiscard]] Estimate xnystrace(const LinearOperator& matrix, const TraceOptions& options = {});

/// Frobenius' norm |A|_F, the root of the mean of |A omega|^2 over random signs omega; the standard error is that of
/// the mean over twice the root. `products` >= 2.
[[nodiscard]] Estimate frobenius_norm(const LinearOperator& matrix, const TraceOptions& options = {});

/// A sampled diagonal.
struct DiagonalEstimate {
  at::Tensor values;           ///< (size()), float64
  at::Tensor standard_errors;  ///< (size()), float64
  std::int64_t samples = 0;    ///< that the standard errors come from
  std::int64_t products = 0;
  bool converged = true;  ///< the asked tolerance was reached; true where none was asked
};

/// Whether Student's quantile times the norm of the standard errors is no more than `tolerance` times that of the
/// values.
[[nodiscard]] bool within(const DiagonalEstimate& estimate, double tolerance);

/// The diagonal, from products with random signs (Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a
/// matrix", 2007): unbiased. `products` >= 2.
[[nodiscard]] DiagonalEstimate hutchinson_diagonal(const LinearOperator& matrix, const TraceOptions& options = {});

/// XDiag with random signs (Epperly, Tropp and Webber, section 2.4): the diagonal as xtrace takes the trace, with
/// standard errors of the same kind, which cost k^2 passes over size() elements for k = products / 2 vectors. Exact
/// where the rank is below k. `products` >= 4, of which no more than 2 size() are made.
[[nodiscard]] DiagonalEstimate xdiag(const LinearOperator& matrix, const TraceOptions& options = {});

}  // namespace gradwise
