#include "gradwise/curvature/kronecker_operator.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/zeros.h>

#include <tuple>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// The part in rows (count, size), as the layer's operator takes it; a view of them.
at::Tensor part_of(const KroneckerPart& part, const at::Tensor& rows) {
  std::int64_t elements = 1;
  std::vector<std::int64_t> shape = {rows.size(0)};
  for (const std::int64_t length : part.shape) {
    shape.push_back(length);
    elements *= length;
  }
  return place_of(part.use, rows.narrow(1, part.first_row, elements).view(shape));
}

// A weight as its operator takes it is (in, out) of a matrix product, (channels, ...) of a convolution.
bool is_convolution(const KroneckerPart& weight) { return weight.use.shape.size() > 2; }

at::Tensor matrices_of(const KroneckerBlock& block, const at::Tensor& rows) {
  const std::int64_t groups = block.input_factor.size(0);
  std::vector<at::Tensor> columns;
  if (block.weight) {
    const at::Tensor weight = part_of(*block.weight, rows);
    columns.push_back(is_convolution(*block.weight)
                          ? weight.reshape({rows.size(0), groups, weight.size(1) / groups, -1})
                          : weight.transpose(1, 2).unsqueeze(1));
  }
  if (block.bias) {
    const at::Tensor bias = part_of(*block.bias, rows);
    columns.push_back(bias.reshape({rows.size(0), groups, bias.size(1) / groups, 1}));
  }
  return at::cat(columns, 3);
}

void put_matrices(const KroneckerBlock& block, const at::Tensor& matrices, const at::Tensor& rows) {
  const std::int64_t inputs = matrices.size(3) - (block.weight && block.bias ? 1 : 0);
  if (block.weight) {
    const at::Tensor weight = part_of(*block.weight, rows);
    const at::Tensor found = matrices.narrow(3, 0, inputs);
    weight.copy_(is_convolution(*block.weight) ? found.reshape(weight.sizes()) : found.select(1, 0).transpose(1, 2));
  }
  if (block.bias) {
    const at::Tensor bias = part_of(*block.bias, rows);
    bias.copy_(matrices.select(3, -1).reshape(bias.sizes()));
  }
}

}  // namespace

void decompose(KroneckerBlock& block) {
  std::tie(block.input_values, block.input_basis) = at::linalg_eigh(block.input_factor);
  std::tie(block.gradient_values, block.gradient_basis) = at::linalg_eigh(block.gradient_factor);
  block.input_values.clamp_min_(0);
  block.gradient_values.clamp_min_(0);
  block.eigenvalues = block.gradient_values.unsqueeze(2).mul(block.input_values.unsqueeze(1));
}

at::Tensor KroneckerOperator::apply(const at::Tensor& vector) const {
  GRADWISE_CHECK(vector.dim() == 1 && vector.numel() == size_, place_, "the vector has the shape ", vector.sizes(),
                 ", allowed: [", size_, "]");
  return apply_columns(vector.unsqueeze(1)).squeeze(1);
}

at::Tensor KroneckerOperator::apply_columns(const at::Tensor& columns) const {
  GRADWISE_CHECK(columns.dim() == 2 && columns.size(0) == size_, place_, "the columns have the shape ", columns.sizes(),
                 ", allowed: [", size_, ", any]");
  GRADWISE_CHECK(columns.dtype() == options_.dtype() && columns.device() == options_.device(), place_, "the vector is ",
                 columns.scalar_type(), " on ", columns.device(),
                 ", allowed: ", c10::typeMetaToScalarType(options_.dtype()), " on ", options_.device());
  const at::Tensor rows = columns.detach().t().to(at::kDouble).contiguous();
  const at::Tensor products = at::zeros(rows.sizes(), rows.options());
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    put_matrices(blocks_[i], times(i, matrices_of(blocks_[i], rows)), products);
  }
  return products.t().to(options_.dtype()).contiguous();
}

at::Tensor times_in_eigenbasis(const KroneckerBlock& block, const at::Tensor& values, const at::Tensor& matrices) {
  const at::Tensor seen = block.gradient_basis.transpose(1, 2).matmul(matrices).matmul(block.input_basis);
  return block.gradient_basis.matmul(seen.mul(values)).matmul(block.input_basis.transpose(1, 2));
}

}  // namespace gradwise
