#pragma once

#include <functional>
#include <memory>

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// A symmetric matrix from a function that multiplies a vector (size()) by it.
class FunctionOperator : public LinearOperator {
 public:
  using Function = std::function<at::Tensor(const at::Tensor& vector)>;

  /// `options`: type and device of the vectors. Errors: a negative size, a type that is not floating point; when a
  /// product is taken, a result of another shape than (size).
  FunctionOperator(Function function, std::int64_t size, at::TensorOptions options);

  [[nodiscard]] std::int64_t size() const override { return size_; }
  [[nodiscard]] at::TensorOptions options() const override { return options_; }
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override;

 private:
  Function function_;
  std::int64_t size_;
  at::TensorOptions options_;
};

/// A symmetric matrix (n, n) that is there in full; its memory is shared. Errors: another shape, a type that is not
/// floating point, a matrix that is not symmetric to the root of its type's epsilon.
class MatrixOperator : public LinearOperator {
 public:
  explicit MatrixOperator(at::Tensor matrix);

  [[nodiscard]] std::int64_t size() const override { return matrix_.size(0); }
  [[nodiscard]] at::TensorOptions options() const override { return matrix_.options(); }
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override { return matrix_.mv(vector); }
  [[nodiscard]] at::Tensor apply_columns(const at::Tensor& columns) const override { return matrix_.matmul(columns); }

 private:
  at::Tensor matrix_;
};

}  // namespace gradwise
