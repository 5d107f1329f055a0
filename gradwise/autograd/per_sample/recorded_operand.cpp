#include "gradwise/autograd/per_sample/recorded_operand.h"

#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/generated/Functions.h>

#include <typeindex>
#include <unordered_map>

namespace gradwise {
namespace {

namespace generated = torch::autograd::generated;
using torch::autograd::Node;
using Sizes = std::vector<std::int64_t>;

using ReadOperand = std::optional<Operand> (*)(Node&, std::size_t, at::IntArrayRef);
using ReadView = ViewStep (*)(Node&, std::uint32_t);

template <class Backward>
Backward& as(Node& node) {
  return static_cast<Backward&>(node);
}

std::int64_t number(const c10::SymInt& value) { return value.guard_int(__FILE__, __LINE__); }

template <class Values>
Sizes numbers(const Values& values) {
  Sizes found;
  for (const c10::SymInt& value : values) {
    found.push_back(number(value));
  }
  return found;
}

BroadcastOperand spread(at::IntArrayRef shape, double scale = 1) { return {shape.vec(), {}, scale, {}}; }

// (C) as it broadcasts to (N, C, ...) of `dimensions` dimensions.
BroadcastOperand of_channels(at::IntArrayRef shape, std::int64_t dimensions, at::Tensor factor = {}) {
  Sizes aligned(static_cast<std::size_t>(dimensions - 1), 1);
  aligned[0] = shape[0];
  return {std::move(aligned), std::move(factor), 1, {}};
}

std::optional<Operand> of_addmm(Node& node, std::size_t edge, at::IntArrayRef shape) {
  auto& backward = as<generated::AddmmBackward0>(node);
  if (edge == 0) {
    return spread(shape, backward.beta.toDouble());
  }
  if (edge == 2) {
    return MatrixOperand{backward.mat1_.unpack(), backward.alpha.toDouble()};
  }
  return std::nullopt;
}

std::optional<Operand> of_mm(Node& node, std::size_t edge, at::IntArrayRef /*shape*/) {
  return edge == 1 ? std::optional<Operand>(MatrixOperand{as<generated::MmBackward0>(node).self_.unpack(), 1})
                   : std::nullopt;
}

std::optional<Operand> of_add(Node& node, std::size_t edge, at::IntArrayRef shape) {
  return spread(shape, edge == 1 ? as<generated::AddBackward0>(node).alpha.toDouble() : 1);
}

std::optional<Operand> of_sub(Node& node, std::size_t edge, at::IntArrayRef shape) {
  return spread(shape, edge == 1 ? -as<generated::SubBackward0>(node).alpha.toDouble() : 1);
}

std::optional<Operand> of_mul(Node& node, std::size_t edge, at::IntArrayRef shape) {
  auto& backward = as<generated::MulBackward0>(node);
  BroadcastOperand operand = spread(shape);
  operand.factor = edge == 0 ? backward.other_.unpack() : backward.self_.unpack();
  return operand;
}

std::optional<Operand> of_expand(Node& /*node*/, std::size_t /*edge*/, at::IntArrayRef shape) { return spread(shape); }

// Of a vector, as instance norm repeats its weight for each sample.
std::optional<Operand> of_repeat(Node& node, std::size_t /*edge*/, at::IntArrayRef shape) {
  const Sizes repeats = numbers(as<generated::RepeatBackward0>(node).repeats);
  if (repeats.size() != 1 || shape.size() != 1) {
    return std::nullopt;
  }
  BroadcastOperand operand = spread(shape);
  operand.gradient_shape = {repeats[0], shape[0]};
  return operand;
}

// One number stands for all directions.
template <class Values>
Sizes in_each_direction(const Values& values, std::size_t directions) {
  Sizes found = numbers(values);
  if (found.size() == 1) {
    found.resize(directions, found[0]);
  }
  return found;
}

std::optional<Operand> of_convolution(Node& node, std::size_t edge, at::IntArrayRef shape) {
  auto& backward = as<generated::ConvolutionBackward0>(node);
  const std::size_t dimensions = node.input_metadata(0).shape_as_dim_vector().size();
  if (edge == 2) {
    return of_channels(shape, static_cast<std::int64_t>(dimensions));
  }
  if (edge != 1 || shape.size() != dimensions) {
    return std::nullopt;
  }
  const std::size_t directions = dimensions - 2;
  return ConvolutionOperand{backward.input_.unpack(),
                            in_each_direction(backward.stride, directions),
                            in_each_direction(backward.padding, directions),
                            in_each_direction(backward.dilation, directions),
                            number(backward.groups),
                            backward.transposed};
}

std::optional<Operand> of_layer_norm(Node& node, std::size_t edge, at::IntArrayRef shape) {
  auto& backward = as<generated::NativeLayerNormBackward0>(node);
  BroadcastOperand operand = spread(shape);
  if (edge == 1) {
    operand.factor =
        (backward.input_.unpack() - backward.result1_.unpack(node.getptr())) * backward.result2_.unpack(node.getptr());
  }
  return edge == 0 ? std::nullopt : std::optional<Operand>(operand);
}

std::optional<Operand> of_rms_norm(Node& node, std::size_t edge, at::IntArrayRef shape) {
  auto& backward = as<generated::FusedRmsNormBackward0>(node);
  if (edge != 1) {
    return std::nullopt;
  }
  BroadcastOperand operand = spread(shape);
  operand.factor = backward.input_.unpack() * backward.result1_.unpack(node.getptr());
  return operand;
}

std::optional<Operand> of_group_norm(Node& node, std::size_t edge, at::IntArrayRef shape) {
  auto& backward = as<generated::NativeGroupNormBackward0>(node);
  const at::Tensor input = backward.input_.unpack();
  if (edge == 2) {
    return of_channels(shape, input.dim());
  }
  if (edge != 1) {
    return std::nullopt;
  }
  const at::Tensor groups = input.reshape({number(backward.N), backward.group, -1});
  const at::Tensor mean = backward.result1_.unpack(node.getptr()).unsqueeze(-1);
  const at::Tensor inverse_deviation = backward.result2_.unpack(node.getptr()).unsqueeze(-1);
  return of_channels(shape, input.dim(), ((groups - mean) * inverse_deviation).view(input.sizes()));
}

// In evaluation mode, where the statistics are constants.
std::optional<Operand> of_batch_norm(Node& node, std::size_t edge, at::IntArrayRef shape) {
  auto& backward = as<generated::NativeBatchNormBackward0>(node);
  const at::Tensor input = backward.input_.unpack();
  if (backward.training || edge == 0) {
    return std::nullopt;
  }
  if (edge == 2) {
    return of_channels(shape, input.dim());
  }
  Sizes aligned(static_cast<std::size_t>(input.dim() - 1), 1);
  aligned[0] = shape[0];
  const at::Tensor mean = backward.running_mean_.unpack().view(aligned);
  const at::Tensor inverse_deviation = (backward.running_var_.unpack() + backward.eps).rsqrt().view(aligned);
  return of_channels(shape, input.dim(), (input - mean) * inverse_deviation);
}

std::optional<Operand> of_embedding(Node& node, std::size_t /*edge*/, at::IntArrayRef /*shape*/) {
  auto& backward = as<generated::EmbeddingBackward0>(node);
  if (backward.scale_grad_by_freq) {
    return std::nullopt;
  }
  return EmbeddingOperand{backward.indices_.unpack(), number(backward.padding_idx)};
}

const std::unordered_map<std::type_index, ReadOperand>& operand_readers() {
  static const std::unordered_map<std::type_index, ReadOperand> kReaders = {
      {typeid(generated::AddmmBackward0), of_addmm},
      {typeid(generated::MmBackward0), of_mm},
      {typeid(generated::AddBackward0), of_add},
      {typeid(generated::SubBackward0), of_sub},
      {typeid(generated::MulBackward0), of_mul},
      {typeid(generated::ExpandBackward0), of_expand},
      {typeid(generated::RepeatBackward0), of_repeat},
      {typeid(generated::ConvolutionBackward0), of_convolution},
      {typeid(generated::NativeLayerNormBackward0), of_layer_norm},
      {typeid(generated::FusedRmsNormBackward0), of_rms_norm},
      {typeid(generated::NativeGroupNormBackward0), of_group_norm},
      {typeid(generated::NativeBatchNormBackward0), of_batch_norm},
      {typeid(generated::EmbeddingBackward0), of_embedding},
  };
  return kReaders;
}

// A dimension of the tensor without samples, in the one with them.
std::int64_t shifted(std::int64_t dimension) { return dimension < 0 ? dimension : dimension + 1; }

ViewStep reshaped(Node& node, std::uint32_t /*output*/) {
  Sizes shape = numbers(node.input_metadata(0).shape_as_dim_vector());
  return [shape](const at::Tensor& t) {
    Sizes with_samples = {t.size(0)};
    with_samples.insert(with_samples.end(), shape.begin(), shape.end());
    return t.view(with_samples);
  };
}

ViewStep unchanged(Node& /*node*/, std::uint32_t /*output*/) {
  return [](const at::Tensor& t) { return t; };
}

ViewStep matrix_transposed(Node& node, std::uint32_t /*output*/) {
  const std::size_t dimensions = node.input_metadata(0).shape_as_dim_vector().size();
  return [dimensions](const at::Tensor& t) { return dimensions < 2 ? t : t.transpose(1, 2); };
}

ViewStep transposed(Node& node, std::uint32_t /*output*/) {
  auto& backward = as<generated::TransposeBackward0>(node);
  return [a = shifted(backward.dim0), b = shifted(backward.dim1)](const at::Tensor& t) { return t.transpose(a, b); };
}

ViewStep permuted(Node& node, std::uint32_t /*output*/) {
  Sizes order = {0};
  const Sizes& dims = as<generated::PermuteBackward0>(node).dims;
  for (const std::int64_t dim : dims) {
    order.push_back((dim < 0 ? dim + static_cast<std::int64_t>(dims.size()) : dim) + 1);
  }
  return [order](const at::Tensor& t) { return t.permute(order); };
}

ViewStep split(Node& node, std::uint32_t output) {
  auto& backward = as<generated::SplitBackward0>(node);
  return [dim = shifted(backward.dim), size = number(backward.split_size), output](const at::Tensor& t) {
    const std::int64_t start = size * output;
    return t.narrow(dim, start, std::min(size, t.size(dim) - start));
  };
}

ViewStep split_with_sizes(Node& node, std::uint32_t output) {
  auto& backward = as<generated::SplitWithSizesBackward0>(node);
  return [dim = shifted(backward.dim), sizes = numbers(backward.split_sizes), output](const at::Tensor& t) {
    std::int64_t start = 0;
    for (std::uint32_t i = 0; i < output; ++i) {
      start += sizes[i];
    }
    return t.narrow(dim, start, sizes[output]);
  };
}

ViewStep sliced(Node& node, std::uint32_t /*output*/) {
  auto& backward = as<generated::SliceBackward0>(node);
  std::optional<std::int64_t> start;
  std::optional<std::int64_t> end;
  if (backward.start) {
    start = number(*backward.start);
  }
  if (backward.end) {
    end = number(*backward.end);
  }
  return [dim = shifted(backward.dim), start, end, step = number(backward.step)](const at::Tensor& t) {
    return t.slice(dim, start, end, step);
  };
}

ViewStep selected(Node& node, std::uint32_t /*output*/) {
  auto& backward = as<generated::SelectBackward0>(node);
  return [dim = shifted(backward.dim), index = number(backward.index)](const at::Tensor& t) {
    return t.select(dim, index);
  };
}

ViewStep unbound(Node& node, std::uint32_t output) {
  return [dim = shifted(as<generated::UnbindBackward0>(node).dim), output](const at::Tensor& t) {
    return t.select(dim, output);
  };
}

const std::unordered_map<std::type_index, ReadView>& view_readers() {
  static const std::unordered_map<std::type_index, ReadView> kReaders = {
      {typeid(generated::TBackward0), matrix_transposed},
      {typeid(generated::TransposeBackward0), transposed},
      {typeid(generated::PermuteBackward0), permuted},
      {typeid(generated::ViewBackward0), reshaped},
      {typeid(generated::UnsafeViewBackward0), reshaped},
      {typeid(generated::ReshapeAliasBackward0), reshaped},
      {typeid(generated::UnsqueezeBackward0), reshaped},
      {typeid(generated::SqueezeBackward0), reshaped},
      {typeid(generated::SqueezeBackward1), reshaped},
      {typeid(generated::SplitBackward0), split},
      {typeid(generated::SplitWithSizesBackward0), split_with_sizes},
      {typeid(generated::SliceBackward0), sliced},
      {typeid(generated::SelectBackward0), selected},
      {typeid(generated::UnbindBackward0), unbound},
      {typeid(generated::AliasBackward0), unchanged},
      {typeid(generated::CloneBackward0), unchanged},
      {typeid(generated::ToCopyBackward0), unchanged},
  };
  return kReaders;
}

}  // namespace

std::optional<Operand> recorded_operand(Node& node, std::size_t edge, at::IntArrayRef shape) {
  const auto reader = operand_readers().find(std::type_index(typeid(node)));
  return reader == operand_readers().end() ? std::nullopt : reader->second(node, edge, shape);
}

std::optional<ViewStep> recorded_view(Node& node, std::uint32_t output) {
  const auto reader = view_readers().find(std::type_index(typeid(node)));
  return reader == view_readers().end() ? std::nullopt : std::optional<ViewStep>(reader->second(node, output));
}

bool joins_samples(Node& node, std::int64_t samples) {
  const auto joins = [samples](bool training, const at::Tensor& input) {
    const bool each_its_own = input.size(0) == 1 && input.size(1) % samples == 0;
    return training && samples > 1 && !each_its_own;
  };
  if (typeid(node) == typeid(generated::NativeBatchNormBackward0)) {
    auto& backward = as<generated::NativeBatchNormBackward0>(node);
    return joins(backward.training, backward.input_.unpack());
  }
  if (typeid(node) == typeid(generated::CudnnBatchNormBackward0)) {
    auto& backward = as<generated::CudnnBatchNormBackward0>(node);
    return joins(backward.training, backward.input_.unpack());
  }
  return false;
}

}  // namespace gradwise
