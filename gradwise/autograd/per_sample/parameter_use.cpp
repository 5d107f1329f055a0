#include "gradwise/autograd/per_sample/parameter_use.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <c10/util/hash.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <typeinfo>
#include <unordered_map>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

using torch::autograd::Node;

struct Consumer {
  Node* node = nullptr;
  std::size_t edge = 0;      // which of its inputs
  std::uint32_t output = 0;  // of the node that is consumed
};
using Consumers = std::unordered_map<const Node*, std::vector<Consumer>>;

std::size_t hash_of(const Node& node) {
  std::size_t hash = c10::hash_combine(typeid(node).hash_code(), node.num_outputs());
  for (std::uint32_t i = 0; i < node.num_inputs(); ++i) {
    const torch::autograd::InputMetadata& output = node.input_metadata(i);
    if (!output.is_nested_tensor()) {
      for (const c10::SymInt& size : output.shape_as_dim_vector()) {
        hash = c10::hash_combine(hash, static_cast<std::size_t>(size.guard_int(__FILE__, __LINE__)));
      }
    }
  }
  return hash;
}

Consumers consumers_of_nodes(Node* root, std::int64_t samples, std::size_t& hash) {
  Consumers consumers;
  std::vector<Node*> open = {root};
  std::unordered_map<const Node*, std::size_t> seen = {{root, 0}};  // in which order
  while (!open.empty()) {
    Node* node = open.back();
    open.pop_back();
    hash = c10::hash_combine(hash, hash_of(*node));
    GRADWISE_CHECK(!joins_samples(*node, samples), "per sample",
                   "a batch norm in training mode joins the samples of the batch: no sample has a gradient of its own, "
                   "allowed: evaluation mode, or a group, layer or instance norm in its place");
    for (std::size_t i = 0; i < node->next_edges().size(); ++i) {
      const torch::autograd::Edge& edge = node->next_edges()[i];
      if (!edge.is_valid()) {
        continue;
      }
      consumers[edge.function.get()].push_back({node, i, edge.input_nr});
      const auto [found, is_new] = seen.emplace(edge.function.get(), seen.size());
      hash = c10::hash_combine(hash, found->second);
      if (is_new) {
        open.push_back(edge.function.get());
      }
    }
  }
  return consumers;
}

// Follows the views of a parameter upwards to the operators that take them. `steps` lead to the input of `node`, which
// is a view itself, or the parameter's own node.
void follow(Node& node, bool is_view, const Consumers& consumers, const std::vector<ViewStep>& steps,
            std::vector<ParameterUse>& uses) {
  const auto found = consumers.find(&node);
  if (found == consumers.end()) {
    return;
  }
  for (const Consumer& consumer : found->second) {
    std::vector<ViewStep> path = steps;
    if (is_view) {
      path.push_back(*recorded_view(node, consumer.output));
    }
    if (recorded_view(*consumer.node, 0)) {
      follow(*consumer.node, /*is_view=*/true, consumers, path, uses);
    } else {
      uses.push_back({consumer.node, consumer.edge, std::move(path), {}});
    }
  }
}

}  // namespace

ParameterUses parameter_uses(const at::Tensor& losses, const std::vector<at::Tensor>& parameters,
                             std::int64_t samples) {
  std::size_t hash = 0;
  const Consumers consumers = consumers_of_nodes(losses.grad_fn().get(), samples, hash);
  ParameterUses found;
  found.graph_hash = static_cast<std::int64_t>(hash);
  for (const at::Tensor& parameter : parameters) {
    const auto node = torch::autograd::impl::gradient_edge(parameter).function;
    std::vector<ParameterUse>& uses = found.of_parameters.emplace_back();
    follow(*node, /*is_view=*/false, consumers, {}, uses);
    std::vector<std::int64_t> probe_shape = {1};
    probe_shape.insert(probe_shape.end(), parameter.sizes().begin(), parameter.sizes().end());
    const at::Tensor probe = at::empty(probe_shape, parameter.options().device(at::kMeta).requires_grad(false));
    for (ParameterUse& use : uses) {
      try {
        use.shape = place_of(use, probe).sizes().slice(1).vec();
      } catch (const c10::Error&) {
        found.unknown = "a parameter is reshaped in a way that its gradients' memory can't follow";
        return found;
      }
    }
  }
  return found;
}

at::Tensor place_of(const ParameterUse& use, const at::Tensor& gradients) {
  at::Tensor place = gradients;
  for (const ViewStep& step : use.steps) {
    place = step(place);
  }
  return place;
}

}  // namespace gradwise
