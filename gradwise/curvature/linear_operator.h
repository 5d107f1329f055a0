#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace gradwise {

/// A symmetric matrix that is known by its products alone: all that estimators of eigenvalues and traces see.
class LinearOperator {
 public:
  LinearOperator() = default;
  virtual ~LinearOperator() = default;
  LinearOperator(const LinearOperator&) = delete;
  LinearOperator& operator=(const LinearOperator&) = delete;

  /// Rows, and columns.
  [[nodiscard]] virtual std::int64_t size() const = 0;
  /// Type and device of the vectors that it takes and gives.
  [[nodiscard]] virtual at::TensorOptions options() const = 0;
  /// The product with a vector (size()).
  [[nodiscard]] virtual at::Tensor apply(const at::Tensor& vector) const = 0;
  /// The products with the columns of a matrix (size(), n).
  [[nodiscard]] virtual at::Tensor apply_columns(const at::Tensor& columns) const;
};

/// The matrix times a vector or the columns of a matrix, taken in the operator's type and given as float64. Error of
/// kind failure: a product that is not finite.
[[nodiscard]] at::Tensor product(const LinearOperator& matrix, const at::Tensor& vectors);

}  // namespace gradwise
