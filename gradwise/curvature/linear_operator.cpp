#include "gradwise/curvature/linear_operator.h"

#include <ATen/ops/stack.h>

#include <vector>

#include "gradwise/core/error.h"

namespace gradwise {

at::Tensor LinearOperator::apply_columns(const at::Tensor& columns) const {
  std::vector<at::Tensor> products;
  for (const at::Tensor& column : columns.unbind(1)) {
    products.push_back(apply(column.contiguous()));
  }
  return at::stack(products, 1);
}

at::Tensor product(const LinearOperator& matrix, const at::Tensor& vectors) {
  const at::Tensor given = vectors.to(matrix.options().dtype());
  const at::Tensor found = (given.dim() == 1 ? matrix.apply(given) : matrix.apply_columns(given)).to(at::kDouble);
  if (!found.isfinite().all().item<bool>()) {
    fail("curvature", "a product with the matrix is not finite");
  }
  return found;
}

}  // namespace gradwise
