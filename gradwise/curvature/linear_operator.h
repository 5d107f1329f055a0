#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

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
  /// Where one is known, a vector (size()) that leans towards the eigenvectors of the largest eigenvalues: `eigenpairs`
  /// by Lanczos begins there. Undefined otherwise.
  [[nodiscard]] virtual at::Tensor leaning() const { return {}; }
};

/// The matrix times a vector or the columns of a matrix, in the operator's type. Error of kind failure: a product that
/// is not finite.
[[nodiscard]] at::Tensor finite_product(const LinearOperator& matrix, const at::Tensor& vectors);
/// The same as float64.
[[nodiscard]] at::Tensor product(const LinearOperator& matrix, const at::Tensor& vectors);

/// Vectors (size()) as the columns of a matrix (size(), n), each of them contiguous, as operators take them apart
/// again.
[[nodiscard]] at::Tensor as_columns(const std::vector<at::Tensor>& vectors);

/// How many independent vectors an estimator has multiplied together: an operator over a data set goes over it once for
/// all of them. 32, or as many as fit into 1 GiB with their products, as float64.
[[nodiscard]] std::int64_t columns_at_once(const LinearOperator& matrix);

/// Whether no element is infinite or NaN, by one pass over a tensor of which that is true.
[[nodiscard]] bool all_finite(const at::Tensor& tensor);

}  // namespace gradwise
