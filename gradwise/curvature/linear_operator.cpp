#include "gradwise/curvature/linear_operator.h"

#include <ATen/ops/stack.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "gradwise/core/error.h"

namespace gradwise {

at::Tensor LinearOperator::apply_columns(const at::Tensor& columns) const {
  std::vector<at::Tensor> products;
  for (const at::Tensor& column : columns.unbind(1)) {
    products.push_back(apply(column.contiguous()));
  }
  return as_columns(products);
}

at::Tensor finite_product(const LinearOperator& matrix, const at::Tensor& vectors) {
  const at::Tensor given = vectors.to(matrix.options().dtype());
  at::Tensor found = given.dim() == 1 ? matrix.apply(given) : matrix.apply_columns(given);
  if (!all_finite(found)) {
    fail("curvature", "a product with the matrix is not finite");
  }
  return found;
}

at::Tensor product(const LinearOperator& matrix, const at::Tensor& vectors) {
  return finite_product(matrix, vectors).to(at::kDouble);
}

at::Tensor as_columns(const std::vector<at::Tensor>& vectors) { return at::stack(vectors, 0).t(); }

std::int64_t columns_at_once(const LinearOperator& matrix) {
  constexpr std::int64_t kMost = 32;
  constexpr std::int64_t kBytes = std::int64_t{1} << 30;
  const std::int64_t each = 2 * static_cast<std::int64_t>(sizeof(double)) * std::max<std::int64_t>(1, matrix.size());
  return std::clamp<std::int64_t>(kBytes / each, 1, kMost);
}

bool all_finite(const at::Tensor& tensor) {
  // The sum of finite elements may be infinite; that of others is never finite.
  return std::isfinite(tensor.sum().item<double>()) || tensor.isfinite().all().item<bool>();
}

}  // namespace gradwise
