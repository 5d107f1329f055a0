#include "gradwise/curvature/restricted.h"

#include <ATen/ops/zeros.h>

#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {

Restricted::Restricted(const LinearOperator& matrix, RowBlock rows) : matrix_(matrix), rows_(std::move(rows)) {
  check_blocks("restricted", {rows_}, matrix_.size());
}

at::Tensor Restricted::apply(const at::Tensor& vector) const { return apply_columns(vector.unsqueeze(-1)).squeeze(1); }

at::Tensor Restricted::apply_columns(const at::Tensor& columns) const {
  GRADWISE_CHECK(columns.dim() == 2 && columns.size(0) == size(), "restricted", "the columns have the shape ",
                 columns.sizes(), ", allowed: [", size(), ", any]");
  at::Tensor whole = at::zeros({matrix_.size(), columns.size(1)}, columns.options());
  put_rows(columns, rows_, whole);
  return rows_taken(matrix_.apply_columns(whole), rows_);
}

}  // namespace gradwise
