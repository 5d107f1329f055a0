#include "gradwise/curvature/kronecker_layers.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <c10/util/accumulate.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

using torch::autograd::Node;

std::int64_t last_size(const Node& node) {
  const auto shape = node.input_metadata(0).shape_as_dim_vector();
  return shape.empty() ? 1 : shape.back().guard_int(__FILE__, __LINE__);
}

std::int64_t first_size(const Node& node) {
  const auto shape = node.input_metadata(0).shape_as_dim_vector();
  return shape.empty() ? 1 : shape.front().guard_int(__FILE__, __LINE__);
}

bool keeps_last_dimension(const Node& node, std::int64_t size) {
  const std::string name = node.name();
  return (name == "ViewBackward0" || name == "UnsafeViewBackward0" || name == "ReshapeAliasBackward0") &&
         last_size(node) == size;
}

// The matrix product whose output, in another shape at most, the other side of a sum is; null where it is none.
Node* product_in_sum(const Node& sum, std::size_t bias_edge, std::int64_t size) {
  Node* node = sum.next_edge(1 - bias_edge).function.get();
  while (node != nullptr && keeps_last_dimension(*node, size)) {
    node = node->next_edge(0).function.get();
  }
  return node != nullptr && node->name() == "MmBackward0" && last_size(*node) == size ? node : nullptr;
}

struct Taken {
  Node* product = nullptr;  // null: by no layer
  bool as_weight = false;
  Operand operand;
  Node* sum = nullptr;
};

Taken taken_as_bias(const ParameterUse& use, const BroadcastOperand& operand) {
  if (operand.factor.defined() || operand.scale != 1 || !operand.gradient_shape.empty() || use.shape.size() != 1) {
    return {};
  }
  const std::string name = use.node->name();
  if (name == "ConvolutionBackward0") {
    return {use.node, false, ConvolutionOperand{}, nullptr};
  }
  if (last_size(*use.node) != use.shape[0]) {
    return {};
  }
  if (name == "AddmmBackward0") {
    return {use.node, false, MatrixOperand{}, nullptr};
  }
  return name == "AddBackward0"
             ? Taken{product_in_sum(*use.node, use.edge, use.shape[0]), false, MatrixOperand{}, use.node}
             : Taken{};
}

Taken taken(const ParameterUse& use) {
  std::optional<Operand> operand = recorded_operand(*use.node, use.edge, use.shape);
  if (!operand) {
    return {};
  }
  if (const auto* matrix = std::get_if<MatrixOperand>(&*operand)) {
    return matrix->scale == 1 ? Taken{use.node, true, *operand, nullptr} : Taken{};
  }
  if (const auto* convolution = std::get_if<ConvolutionOperand>(&*operand)) {
    return convolution->transposed ? Taken{} : Taken{use.node, true, *operand, nullptr};
  }
  const auto* broadcast = std::get_if<BroadcastOperand>(&*operand);
  return broadcast != nullptr ? taken_as_bias(use, *broadcast) : Taken{};
}

// Why the uses are not each element of the parameter once; empty where they are.
std::string overlap_of(const std::vector<ParameterUse>& uses, const at::Tensor& parameter) {
  if (uses.empty()) {
    return "the output does not depend on it";
  }
  if (uses.size() == 1 && c10::multiply_integers(uses.front().shape) == parameter.numel()) {
    return "";
  }
  std::vector<std::int64_t> shape = {1};
  shape.insert(shape.end(), parameter.sizes().begin(), parameter.sizes().end());
  const at::Tensor times_used = at::zeros(shape, at::kInt);
  for (const ParameterUse& use : uses) {
    place_of(use, times_used).add_(1);
  }
  return times_used.eq(1).all().item<bool>() ? "" : "it is used several times, or in part";
}

void add_part(std::vector<RecordedLayer>& layers, LayerPart part, Taken how) {
  auto layer =
      std::ranges::find_if(layers, [&how](const RecordedLayer& l) { return l.product.use.node == how.product; });
  if (layer == layers.end()) {
    RecordedLayer made;
    made.product.parameter = part.parameter;
    made.product.use.node = how.product;
    made.product.operand = std::move(how.operand);
    layer = layers.insert(layers.end(), std::move(made));
  } else if (how.as_weight) {
    layer->product.operand = std::move(how.operand);
  }
  layer->sum = how.sum != nullptr ? how.sum : layer->sum;
  (how.as_weight ? layer->weight : layer->bias) = std::move(part);
}

// (rows, out) or (rows, out, ...) as (samples, 1, out, positions).
at::Tensor output_gradients(const at::Tensor& gradient, SampleLayout layout, std::int64_t samples) {
  const at::Tensor rows = gradient.reshape({gradient.size(0), gradient.size(1), -1});
  return arranged(rows, layout, samples).permute({0, 2, 1, 3}).flatten(2).unsqueeze(1);
}

// A bias alone is a layer whose only input is 1.
FactoredTerm term_of(const RecordedLayer& layer, SampleLayout layout, std::int64_t samples) {
  const at::Tensor& gradient = layer.product.gradient;
  if (layer.weight) {
    const auto term = sample_term(layer.product.operand, gradient, layer.weight->use.shape, layout, samples);
    return std::get<FactoredTerm>(term.value());
  }
  FactoredTerm term;
  term.right = output_gradients(gradient.detach(), layout, samples);
  term.left = term.right.new_ones({samples, 1, 1, term.right.size(3)});
  return term;
}

}  // namespace

RecordedLayers recorded_layers(const at::Tensor& output, const std::vector<at::Tensor>& parameters,
                               std::int64_t samples) {
  const ParameterUses uses = parameter_uses(output, parameters, samples);
  RecordedLayers found;
  found.graph_hash = uses.graph_hash;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    std::string reason = uses.unknown.empty() ? overlap_of(uses.of_parameters[i], parameters[i]) : uses.unknown;
    std::vector<Taken> all;
    for (std::size_t k = 0; reason.empty() && k < uses.of_parameters[i].size(); ++k) {
      all.push_back(taken(uses.of_parameters[i][k]));
      if (all.back().product == nullptr) {
        reason = uses.of_parameters[i][k].node->name() + " takes it";
      } else if (first_size(*all.back().product) % samples != 0) {
        reason = "it works on rows that are no multiple of the samples";
      }
    }
    for (std::size_t k = 0; reason.empty() && k < all.size(); ++k) {
      add_part(found.layers, {i, uses.of_parameters[i][k]}, std::move(all[k]));
    }
    found.reasons.push_back(std::move(reason));
  }
  return found;
}

void open_layers(const char* place, std::vector<RecordedLayer>& layers, const at::Tensor& output,
                 const at::Tensor& weights) {
  std::vector<Node*> nodes;
  for (const RecordedLayer& layer : layers) {
    nodes.push_back(layer.product.use.node);
  }
  for (const RecordedLayer& layer : layers) {
    if (layer.sum != nullptr) {
      nodes.push_back(layer.sum);
    }
  }
  const std::vector<at::Tensor> gradients = arriving_gradients(output, weights, nodes);
  std::size_t next_sum = layers.size();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& made = nodes[i]->input_metadata(0);
    layers[i].product.gradient = gradients[i].defined() ? gradients[i].detach() : made.zeros_like();
    if (layers[i].sum == nullptr) {
      continue;
    }
    const at::Tensor& of_sum = gradients[next_sum++];
    GRADWISE_CHECK(
        !of_sum.defined() || of_sum.reshape(layers[i].product.gradient.sizes()).equal(layers[i].product.gradient),
        place, "the product of a weight is used both with and without its bias, allowed: with it alone");
  }
}

LayerSamples::LayerSamples(const RecordedLayer& layer, SampleLayout layout, std::int64_t samples, at::ScalarType type)
    : term_(term_of(layer, layout, samples)), has_bias_(layer.weight && layer.bias), type_(type) {}

at::Tensor LayerSamples::inputs(std::int64_t first, std::int64_t count, ReusedMemory& memory) const {
  const at::Tensor found =
      (term_.windows ? columns_of(term_, first, count, memory) : term_.left.narrow(0, first, count)).to(type_);
  if (!has_bias_) {
    return found;
  }
  return at::cat({found, found.new_ones({count, found.size(1), 1, found.size(3)})}, 2);
}

at::Tensor LayerSamples::gradients(std::int64_t first, std::int64_t count) const {
  return (term_.windows ? term_.left : term_.right).narrow(0, first, count).to(type_);
}

std::int64_t LayerSamples::block() const {
  const std::int64_t in = term_.windows ? term_.columns() : term_.left.size(2);
  return samples_in_block(term_.left.size(1) * in * positions());
}

}  // namespace gradwise
