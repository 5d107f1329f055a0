#include "gradwise/curvature/layer_trace_draws.h"

#include <ATen/ops/full.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <string>

#include "gradwise/autograd/per_sample/open_use.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

constexpr const char* kLayerTrace = "layer_trace";

using torch::autograd::Node;

// An operator that parameters go into. Of its output z (samples, units):
struct Layer {
  Node* node = nullptr;
  at::Tensor gradient;      // the loss's, with its graph
  at::Tensor mean_squares;  // of what signs for the parameters would add to z; broadcasts to it
};

[[noreturn]] void refuse(const std::string& parameter, const std::string& why) {
  fail_usage(kLayerTrace, parameter, " ", why, ", allowed: each parameter used once, by an operator that gives a row ",
             "for each sample (linear layers and norms on samples x units); xtrace takes any");
}

// E[(sum over the parameter's entries of sign * derivative of z)^2].
at::Tensor mean_squares(const Operand& operand, const at::Tensor& z, const std::string& name) {
  if (const auto* matrix = std::get_if<MatrixOperand>(&operand); matrix != nullptr && matrix->input.dim() == 2) {
    return matrix->input.detach().square().sum(1, /*keepdim=*/true).mul(matrix->scale * matrix->scale);
  }
  if (const auto* spread = std::get_if<BroadcastOperand>(&operand); spread != nullptr) {
    std::int64_t entries = 1;
    for (const std::int64_t size : spread->shape) {
      entries *= size;
    }
    if (entries == z.size(1) && !spread->shape.empty() && spread->shape.back() == entries &&
        spread->gradient_shape.empty()) {
      const double square = spread->scale * spread->scale;
      return spread->factor.defined() ? spread->factor.detach().square().mul(square)
                                      : at::full({1, 1}, square, z.options());
    }
  }
  refuse(name, "goes into an operator that is not one for each sample");
}

std::vector<Node*> nodes_of(const std::vector<Layer>& layers) {
  std::vector<Node*> nodes;
  for (const Layer& layer : layers) {
    nodes.push_back(layer.node);
  }
  return nodes;
}

std::vector<Layer> layers_of(const at::Tensor& loss, const NamedParameters& parameters, std::int64_t samples) {
  const ParameterUses uses = parameter_uses(loss, parameters.tensors, samples);
  GRADWISE_CHECK(uses.unknown.empty(), kLayerTrace, uses.unknown);
  std::vector<Layer> layers;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::vector<ParameterUse>& of_one = uses.of_parameters[i];
    if (of_one.size() > 1) {
      refuse(parameters.names[i], "is used " + std::to_string(of_one.size()) + " times");
    }
    if (!of_one.empty() && std::ranges::find(layers, of_one[0].node, &Layer::node) == layers.end()) {
      layers.push_back({of_one[0].node, {}, {}});
    }
  }
  const std::vector<at::Tensor> gradients =
      arriving_gradients({loss}, {at::ones_like(loss)}, nodes_of(layers), /*create_graph=*/true);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    layers[i].gradient = gradients[i];
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (uses.of_parameters[i].empty()) {
      continue;  // its block is zero
    }
    const ParameterUse& use = uses.of_parameters[i][0];
    Layer& layer = *std::ranges::find(layers, use.node, &Layer::node);
    const std::optional<Operand> operand = recorded_operand(*use.node, use.edge, use.shape);
    if (!operand || !layer.gradient.defined() || layer.gradient.dim() != 2 || layer.gradient.size(0) != samples) {
      refuse(parameters.names[i], "goes into an operator that is not one for each sample");
    }
    const at::Tensor more = mean_squares(*operand, layer.gradient, parameters.names[i]);
    layer.mean_squares = layer.mean_squares.defined() ? layer.mean_squares.add(more) : more;
  }
  std::erase_if(layers,
                [](const Layer& layer) { return !layer.gradient.requires_grad(); });  // the loss is linear there
  return layers;
}

// The Hessian by the layers' outputs times `vectors`.
std::vector<at::Tensor> multiplied(const std::vector<Layer>& layers, const std::vector<at::Tensor>& vectors) {
  std::vector<at::Tensor> roots;
  for (const Layer& layer : layers) {
    roots.push_back(layer.gradient);
  }
  std::vector<at::Tensor> products = arriving_gradients(roots, vectors, nodes_of(layers), /*create_graph=*/false);
  for (std::size_t i = 0; i < products.size(); ++i) {
    products[i] = products[i].defined() ? products[i].detach() : at::zeros_like(vectors[i]);
  }
  return products;
}

std::vector<at::Tensor> random_outputs(const std::vector<Layer>& layers, at::Generator& generator) {
  std::vector<at::Tensor> vectors;
  for (const Layer& layer : layers) {
    const at::Tensor signs = at::randint(2, layer.gradient.sizes(), generator, at::kDouble).mul(2).sub(1);
    vectors.push_back(signs.to(layer.gradient.options()).mul(layer.mean_squares.sqrt()));
  }
  return vectors;
}

// The products of the rows that `chosen` (samples, 1) is 1 for. Error: they reach other rows.
std::vector<at::Tensor> products_of_some(const std::vector<Layer>& layers, const std::vector<at::Tensor>& vectors,
                                         const at::Tensor& chosen) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& vector : vectors) {
    parts.push_back(vector.mul(chosen.to(vector.options())));
  }
  std::vector<at::Tensor> products = multiplied(layers, parts);
  for (const at::Tensor& product : products) {
    if (!product.isfinite().all().item<bool>()) {
      fail(kLayerTrace, "a product with the Hessian is not finite: look at the loss and at the weights");
    }
    const double reached = product.mul(chosen.to(product.options()).neg().add(1)).abs().max().item<double>();
    GRADWISE_CHECK(reached <= 1e-6 * product.abs().max().item<double>(), kLayerTrace,
                   "samples meet in the loss or in the model, so that the trace is no sum over samples; xtrace takes ",
                   "any");
  }
  return products;
}

double inner_product(const std::vector<at::Tensor>& left, const std::vector<at::Tensor>& right) {
  double sum = 0;
  for (std::size_t i = 0; i < left.size(); ++i) {
    sum += left[i].to(at::kDouble).mul(right[i]).sum().item<double>();
  }
  return sum;
}

}  // namespace

std::vector<double> layer_trace_draws(const at::Tensor& loss, const NamedParameters& parameters, std::int64_t samples,
                                      std::int64_t count, at::Generator& generator) {
  const std::vector<Layer> layers = layers_of(loss, parameters, samples);
  std::vector<double> found(static_cast<std::size_t>(count), 0.0);
  for (std::size_t i = 0; i < found.size() && !layers.empty(); ++i) {
    const std::vector<at::Tensor> u = random_outputs(layers, generator);
    if (i > 0) {
      found[i] = inner_product(u, multiplied(layers, u));
      continue;
    }
    const at::Tensor chosen = at::randperm(samples, generator).lt((samples + 1) / 2).to(at::kDouble).unsqueeze(1);
    found[i] = inner_product(u, products_of_some(layers, u, chosen)) +
               inner_product(u, products_of_some(layers, u, chosen.neg().add(1)));
  }
  return found;
}

}  // namespace gradwise
