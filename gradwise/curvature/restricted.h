#pragma once

#include "gradwise/curvature/linear_operator.h"
#include "gradwise/curvature/row_blocks.h"

namespace gradwise {

/// Chosen rows and columns of a matrix, in the order of the choice. The matrix has to outlive it. An operator over a
/// data set that is made with `parameters` gives the same for less work.
///
///   const Restricted head(hessian, matching_rows(hessian.parameters(), {"head.*"}));
///
/// Errors: no rows, rows that the matrix lacks or that come twice.
class Restricted : public LinearOperator {
 public:
  Restricted(const LinearOperator& matrix, RowBlock rows);

  [[nodiscard]] std::int64_t size() const override { return rows_.size(); }
  [[nodiscard]] at::TensorOptions options() const override { return matrix_.options(); }
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override;
  [[nodiscard]] at::Tensor apply_columns(const at::Tensor& columns) const override;

 private:
  const LinearOperator& matrix_;
  RowBlock rows_;
};

}  // namespace gradwise
