#include "gradwise/curvature/block_diagonal.h"

#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

constexpr std::int64_t kColumnsAtOnce = 16;

}  // namespace

BlockDiagonal::BlockDiagonal(const LinearOperator& matrix, std::vector<RowBlock> blocks)
    : matrix_(matrix), blocks_(std::move(blocks)) {
  check_blocks("block_diagonal", blocks_, matrix_.size());
}

at::Tensor BlockDiagonal::apply(const at::Tensor& vector) const {
  return apply_columns(vector.unsqueeze(-1)).squeeze(1);
}

at::Tensor BlockDiagonal::apply_columns(const at::Tensor& columns) const {
  GRADWISE_CHECK(columns.dim() == 2 && columns.size(0) == size(), "block_diagonal", "the columns have the shape ",
                 columns.sizes(), ", allowed: [", size(), ", any]");
  at::Tensor products = at::zeros_like(columns);
  const std::int64_t pairs = std::ssize(blocks_) * columns.size(1);  // of a column and a block
  for (std::int64_t first = 0; first < pairs; first += kColumnsAtOnce) {
    const std::int64_t count = std::min(kColumnsAtOnce, pairs - first);
    const auto each_pair = [&](const auto& visit) {
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t column = (first + i) / std::ssize(blocks_);
        visit(i, column, blocks_[static_cast<std::size_t>((first + i) % std::ssize(blocks_))]);
      }
    };
    at::Tensor alone = at::zeros({size(), count}, columns.options());
    each_pair([&](std::int64_t i, std::int64_t column, const RowBlock& block) {
      at::Tensor to = alone.narrow(1, i, 1);
      put_rows(rows_taken(columns.narrow(1, column, 1), block), block, to);
    });
    const at::Tensor found = matrix_.apply_columns(alone);
    each_pair([&](std::int64_t i, std::int64_t column, const RowBlock& block) {
      at::Tensor to = products.narrow(1, column, 1);
      put_rows(rows_taken(found.narrow(1, i, 1), block), block, to);
    });
  }
  return products;
}

}  // namespace gradwise
