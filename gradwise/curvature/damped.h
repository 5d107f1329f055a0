#pragma once

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// matrix + damping I. The matrix has to outlive it.
///
///   const Damped solvable(gauss_newton, 1e-3);
///
/// Error: a damping that is negative or not finite.
class Damped : public LinearOperator {
 public:
  Damped(const LinearOperator& matrix, double damping);

  [[nodiscard]] std::int64_t size() const override { return matrix_.size(); }
  [[nodiscard]] at::TensorOptions options() const override { return matrix_.options(); }
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override;
  [[nodiscard]] at::Tensor apply_columns(const at::Tensor& columns) const override;
  [[nodiscard]] at::Tensor leaning() const override { return matrix_.leaning(); }

 private:
  const LinearOperator& matrix_;
  double damping_;
};

}  // namespace gradwise
