#pragma once

#include <vector>

#include "gradwise/curvature/linear_operator.h"
#include "gradwise/curvature/row_blocks.h"

namespace gradwise {

/// A matrix without what is outside of its diagonal blocks; rows of no block are zero. The matrix has to outlive it.
///
///   const BlockDiagonal by_layer(hessian, layer_blocks(hessian.parameters()));
///
/// A product takes one with the matrix for each block; up to 16 at once, by apply_columns. Errors: no block, rows that
/// the matrix lacks or that come twice.
class BlockDiagonal : public LinearOperator {
 public:
  BlockDiagonal(const LinearOperator& matrix, std::vector<RowBlock> blocks);

  [[nodiscard]] std::int64_t size() const override { return matrix_.size(); }
  [[nodiscard]] at::TensorOptions options() const override { return matrix_.options(); }
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override;
  [[nodiscard]] at::Tensor apply_columns(const at::Tensor& columns) const override;

  [[nodiscard]] const std::vector<RowBlock>& blocks() const { return blocks_; }

 private:
  const LinearOperator& matrix_;
  std::vector<RowBlock> blocks_;
};

}  // namespace gradwise
