#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/kron.h>
#include <ATen/ops/randn.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/model.h"
#include "gradwise/curvature/block_diagonal.h"
#include "gradwise/curvature/data_operator.h"
#include "tests/curvature/small_net.h"

namespace gradwise {

using Forward = std::function<at::Tensor(const std::vector<at::Tensor>& weights, const at::Tensor& x)>;

// Where the entries of a weight and the bias behind it are in a matrix (out, in) with the bias as last column.
inline at::Tensor rows_of_parameters(std::int64_t out, std::int64_t in) {
  const at::Tensor rows = at::arange(out * in, at::kLong).view({out, in});
  return at::cat({rows.narrow(1, 0, in - 1).flatten(), rows.select(1, in - 1).contiguous()});
}

// G ⊗ A over a weight (out, in) and, where the last input is 1, the bias behind it.
inline at::Tensor block_of(const at::Tensor& A, const at::Tensor& G, bool bias) {
  const at::Tensor whole = at::kron(G, A);
  const at::Tensor order = rows_of_parameters(G.size(0), A.size(0));
  return bias ? whole.index_select(0, order).index_select(1, order) : whole;
}

inline at::Tensor dense_by_layer(const DataOperator& matrix) {
  return matrix_of(BlockDiagonal(matrix, layer_blocks(matrix.parameters())));
}

inline Model model_of(const std::vector<std::pair<std::string, at::Tensor>>& weights, const Forward& forward) {
  Model made;
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : weights) {
    made.parameters.add(name, tensor);
    tensors.push_back(tensor);
  }
  made.forward = [tensors, forward](const Batch& batch) { return forward(tensors, batch.input); };
  return made;
}

inline at::Tensor weight_of(at::IntArrayRef shape) { return at::randn(shape, at::kDouble).mul(0.5).requires_grad_(); }

}  // namespace gradwise
