#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// A sampled figure and the standard error of it.
struct Estimate {
  double value = 0;
  double standard_error = 0;
  std::int64_t samples = 0;   ///< that the standard error comes from
  std::int64_t products = 0;  ///< with the matrix
};

/// What estimators by random vectors take. Vectors come from a generator of their own: the same seed, the same figure.
/// Errors of all of them: too few `products`, an operator without rows; of kind failure, a product that is not finite.
struct TraceOptions {
  std::int64_t products = 60;  ///< with the matrix, at most
  std::int64_t seed = 0;
};

/// The trace, from products with random signs (Hutchinson, "A stochastic estimator of the trace of the influence
/// matrix", 1990): unbiased; the standard error is that of the mean over the samples. `products` >= 2.
[[nodiscard]] Estimate hutchinson_trace(const LinearOperator& matrix, const TraceOptions& options = {});

/// Hutch++ (Meyer, Musco, Musco and Woodruff, "Hutch++: Optimal Stochastic Trace Estimation", 2021, algorithm 1): a
/// third of the products finds where the matrix is large, a third takes the trace there exactly, a third samples the
/// rest. Error falls with 1/products where that of Hutchinson's falls with its root. `products` >= 6, of which no more
/// than 3 size() are made.
[[nodiscard]] Estimate hutch_plus_plus(const LinearOperator& matrix, const TraceOptions& options = {});

/// XTrace with resphering (Epperly, Tropp and Webber, "XTrace: Making the Most of Every Sample in Stochastic Trace
/// Estimation", 2024, section 2.1 and 2.3): every vector serves to sample and to find where the matrix is large, for
/// all others. For any symmetric matrix. The standard error is that of the mean over the vectors, as the paper gives
/// it; they depend on each other, so it is too small, down to 0.4 of the true one where the spectrum falls steeply.
/// Exact, with an error of 0, where the rank is below products / 2. `products` >= 4, of which no more than 2 size() are
/// made.
[[nodiscard]] Estimate xtrace(const LinearOperator& matrix, const TraceOptions& options = {});

/// XNysTrace with resphering (the same paper, section 2.2): the form for positive semi-definite matrices such as those
/// of Gauss-Newton and Fisher, with a Nyström approximation and one product a vector; its standard error as xtrace's.
/// `products` >= 2, of which no more than size() are made. Error of kind failure: a matrix that is found not to be
/// positive semi-definite.
[[nodiscard]] Estimate xnystrace(const LinearOperator& matrix, const TraceOptions& options = {});

/// A sampled diagonal.
struct DiagonalEstimate {
  at::Tensor values;           ///< (size()), float64
  at::Tensor standard_errors;  ///< (size()), float64
  std::int64_t products = 0;
};

/// The diagonal, from products with random signs (Bekas, Kokiopoulou and Saad, "An estimator for the diagonal of a
/// matrix", 2007): unbiased. `products` >= 2.
[[nodiscard]] DiagonalEstimate hutchinson_diagonal(const LinearOperator& matrix, const TraceOptions& options = {});

}  // namespace gradwise
