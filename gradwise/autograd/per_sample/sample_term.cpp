#include "gradwise/autograd/per_sample/sample_term.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <utility>

namespace gradwise {
namespace {

using Sizes = std::vector<std::int64_t>;

std::optional<SampleTerm> matrix_term(const MatrixOperand& operand, const at::Tensor& gradient, SampleLayout layout,
                                      std::int64_t samples) {
  if (operand.input.dim() != 2 || gradient.dim() != 2 || operand.input.size(0) != gradient.size(0)) {
    return std::nullopt;
  }
  FactoredTerm term;
  term.left = arranged(operand.input.detach(), layout, samples).transpose(1, 2).unsqueeze(1);
  const at::Tensor right = arranged(gradient, layout, samples).transpose(1, 2).unsqueeze(1);
  term.right = operand.scale == 1 ? right : right * operand.scale;
  return term;
}

// The gradient of a transposed convolution's weight is that of a convolution with input and output gradient swapped.
std::optional<SampleTerm> convolution_term(const ConvolutionOperand& operand, at::Tensor gradient,
                                           at::IntArrayRef weight, SampleLayout layout, std::int64_t samples) {
  at::Tensor input = operand.input.detach();
  if (operand.transposed) {
    std::swap(input, gradient);
  }
  if (input.dim() != gradient.dim() || input.size(0) != gradient.size(0)) {
    return std::nullopt;
  }
  const std::int64_t groups = operand.groups;
  const at::Tensor outputs = arranged(gradient.flatten(2), layout, samples);  // (samples, rows, channels, positions)
  FactoredTerm term;
  term.left = outputs.unflatten(2, {groups, outputs.size(2) / groups}).permute({0, 2, 3, 1, 4}).flatten(3);
  term.right = arranged(input, layout, samples);
  term.windows = FactoredTerm::Windows{weight.slice(2).vec(), gradient.sizes().slice(2).vec(),
                                       operand.stride,        operand.padding,
                                       operand.dilation,      groups};
  return term;
}

std::optional<SampleTerm> broadcast_term(const BroadcastOperand& operand, const at::Tensor& gradient,
                                         at::IntArrayRef shape, SampleLayout layout, std::int64_t samples) {
  const auto dimensions = static_cast<std::size_t>(gradient.dim());
  if (operand.shape.size() > dimensions) {
    return std::nullopt;
  }
  Sizes aligned(dimensions - operand.shape.size(), 1);
  aligned.insert(aligned.end(), operand.shape.begin(), operand.shape.end());
  const std::size_t sample_dimension = layout == SampleLayout::second ? 1 : 0;
  if (aligned[sample_dimension] != 1) {
    return std::nullopt;
  }
  at::Tensor product = arranged(gradient, layout, samples);
  if (operand.factor.defined()) {
    product = product * arranged(operand.factor.detach().expand(gradient.sizes()), layout, samples);
  }
  // The operand's shape beside (rows, ...): rows are summed unless the operand has them.
  Sizes kept = aligned;
  if (layout == SampleLayout::second) {
    kept.erase(kept.begin() + 1);
  }
  Sizes summed;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const auto dimension = static_cast<std::int64_t>(i) + 1;
    if (kept[i] != product.size(dimension)) {
      if (kept[i] != 1) {
        return std::nullopt;
      }
      summed.push_back(dimension);
    }
  }
  if (!summed.empty()) {
    product = product.sum(summed);
  }
  Sizes whole = {samples};
  whole.insert(whole.end(), shape.begin(), shape.end());
  product = product.reshape(whole);
  return WholeTerm{operand.scale == 1 ? product : product * operand.scale};
}

std::optional<SampleTerm> table_term(const EmbeddingOperand& operand, const at::Tensor& gradient, SampleLayout layout,
                                     std::int64_t samples) {
  if (operand.indices.dim() + 1 != gradient.dim() || (layout == SampleLayout::second && operand.indices.dim() < 2)) {
    return std::nullopt;
  }
  TableTerm term;
  term.indices = arranged(operand.indices, layout, samples).reshape({samples, -1}).to(at::kLong);
  term.gradients = arranged(gradient, layout, samples).reshape({samples, -1, gradient.size(-1)});
  if (operand.padding_index >= 0) {
    term.gradients = term.gradients.masked_fill(term.indices.eq(operand.padding_index).unsqueeze(-1), 0);
  }
  return term;
}

}  // namespace

at::Tensor ReusedMemory::take(std::size_t purpose, at::IntArrayRef shape, const at::TensorOptions& options) {
  const std::int64_t elements = c10::multiply_integers(shape);
  at::Tensor& flat = flat_[purpose];
  if (!flat.defined() || flat.numel() < elements || flat.scalar_type() != c10::typeMetaToScalarType(options.dtype()) ||
      flat.device() != options.device()) {
    flat = at::Tensor();  // before the new one is taken
    flat = at::empty({elements}, options);
  }
  return flat.narrow(0, 0, elements).view(shape);
}

std::int64_t FactoredTerm::columns() const {
  return windows ? right.size(2) / windows->groups * c10::multiply_integers(windows->kernel) : right.size(2);
}

bool FactoredTerm::is_outer_product() const { return !windows && left.size(1) == 1 && left.size(3) == 1; }

std::optional<SampleTerm> sample_term(const Operand& operand, const at::Tensor& output_gradient, at::IntArrayRef shape,
                                      SampleLayout layout, std::int64_t samples) {
  const at::Tensor gradient = seen_by(operand, output_gradient.detach());
  if (const auto* matrix = std::get_if<MatrixOperand>(&operand)) {
    return matrix_term(*matrix, gradient, layout, samples);
  }
  if (const auto* convolution = std::get_if<ConvolutionOperand>(&operand)) {
    return convolution_term(*convolution, gradient, shape, layout, samples);
  }
  if (const auto* broadcast = std::get_if<BroadcastOperand>(&operand)) {
    return broadcast_term(*broadcast, gradient, shape, layout, samples);
  }
  return table_term(std::get<EmbeddingOperand>(operand), gradient, layout, samples);
}

std::int64_t samples_in_block(std::int64_t elements) {
  constexpr std::int64_t kElements = 2 << 20;
  return std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, elements));
}

}  // namespace gradwise
