#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "gradwise/curvature/lanczos.h"

namespace gradwise {

/// The recurrence of Lanczos' method from a random vector (Golub and Van Loan, "Matrix Computations", 4th edition,
/// 10.1): A q_j = beta_{j-1} q_{j-1} + alpha_j q_j + beta_j q_{j+1}. It keeps two vectors, of the operator's type and
/// of float32 at least, and the tridiagonal matrix; who asks for the product, and for the products of how many such
/// runs together, is the caller's affair.
class LanczosRecurrence {
 public:
  /// No more than min(steps, size()) steps. Error: an operator without rows.
  LanczosRecurrence(const LinearOperator& matrix, std::int64_t steps, std::int64_t seed);

  /// The unit vector whose product is due.
  [[nodiscard]] const at::Tensor& due() const { return q_; }
  [[nodiscard]] std::int64_t steps() const { return static_cast<std::int64_t>(alpha_.size()); }
  /// All steps are made, or the space is exhausted.
  [[nodiscard]] bool over() const { return over_; }
  /// No more than the matrix' norm: that of the longest product.
  [[nodiscard]] double magnitude() const { return magnitude_; }

  /// What is left of the product without its parts in q_j and q_{j-1}.
  [[nodiscard]] at::Tensor left_of(const at::Tensor& product);
  /// Ends the step with what is left, and its length. Shorter than `exhausted` beside the matrix it is rounding.
  void advance(const at::Tensor& left, double length, double exhausted);
  /// A step that trusts rounding, with the product of due(). Error of kind failure: the operator is found not to be
  /// symmetric.
  void advance(const LinearOperator& matrix, const at::Tensor& product);

  /// Of the tridiagonal matrix; `products` are the steps.
  [[nodiscard]] LanczosResult ritz_values() const;

 private:
  std::int64_t most_;
  at::Tensor q_;
  at::Tensor before_;
  std::vector<double> alpha_;
  std::vector<double> beta_;
  double magnitude_ = 0;
  bool over_ = false;
};

}  // namespace gradwise
