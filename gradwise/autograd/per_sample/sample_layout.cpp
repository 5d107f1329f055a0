#include "gradwise/autograd/per_sample/sample_layout.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>

namespace gradwise {
namespace {

double layout_tolerance(at::ScalarType type) { return type == at::kDouble ? 1e-9 : type == at::kFloat ? 1e-4 : 3e-2; }

double norm_of(const at::Tensor& tensor) { return at::linalg_vector_norm(tensor.to(at::kDouble)).item<double>(); }

}  // namespace

at::Tensor arranged(const at::Tensor& tensor, SampleLayout layout, std::int64_t samples) {
  switch (layout) {
    case SampleLayout::leading:
      return tensor.unflatten(0, {samples, tensor.size(0) / samples});
    case SampleLayout::interleaved:
      return tensor.unflatten(0, {tensor.size(0) / samples, samples}).transpose(0, 1);
    case SampleLayout::second:
      break;
  }
  return tensor.transpose(0, 1);
}

at::Tensor seen_by(const Operand& operand, const at::Tensor& output_gradient) {
  const auto* broadcast = std::get_if<BroadcastOperand>(&operand);
  return broadcast != nullptr && !broadcast->gradient_shape.empty() ? output_gradient.reshape(broadcast->gradient_shape)
                                                                    : output_gradient;
}

std::vector<SampleLayout> possible_layouts(const Operand& operand, const at::Tensor& gradient, std::int64_t samples) {
  std::vector<SampleLayout> layouts;
  if (gradient.dim() == 0) {
    return layouts;
  }
  const bool divides = gradient.size(0) > 0 && gradient.size(0) % samples == 0;
  const bool has_rows =
      std::holds_alternative<MatrixOperand>(operand) || std::holds_alternative<ConvolutionOperand>(operand);
  if (divides) {
    layouts.push_back(SampleLayout::leading);
  }
  if (!has_rows && gradient.dim() >= 2 && gradient.size(1) == samples) {
    layouts.push_back(SampleLayout::second);
  }
  if (divides && gradient.size(0) > samples) {
    layouts.push_back(SampleLayout::interleaved);
  }
  return layouts;
}

bool is_laid_out(const at::Tensor& gradient, const at::Tensor& weighted_gradient, const at::Tensor& weights,
                 SampleLayout layout) {
  const at::Tensor rows = arranged(gradient, layout, weights.size(0));
  std::vector<std::int64_t> shape(static_cast<std::size_t>(rows.dim()), 1);
  shape[0] = weights.size(0);
  const at::Tensor expected = rows * weights.to(rows.scalar_type()).view(shape);
  const double difference = norm_of(arranged(weighted_gradient, layout, weights.size(0)) - expected);
  return difference <= layout_tolerance(gradient.scalar_type()) * norm_of(expected);  // false where it is NaN
}

}  // namespace gradwise
