#include "gradwise/autograd/graph_walk.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <algorithm>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "gradwise/autograd/activation_figures.h"
#include "gradwise/autograd/node_names.h"
#include "gradwise/autograd/saved_activation.h"
#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"

namespace gradwise {
namespace {

using torch::autograd::AccumulateGrad;
using torch::autograd::Node;

// How far below an activation its layer is looked for, in nodes.
constexpr std::size_t kSearchBound = 200;
constexpr std::size_t kLongestPath = 64;

using Names = std::unordered_map<const at::TensorImpl*, const std::string*>;

Names names_by_tensor(const NamedParameters& parameters) {
  Names names;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    names.emplace(parameters.tensors[i].unsafeGetTensorImpl(), &parameters.names[i]);
  }
  return names;
}

const std::string* parameter_of(const Node& node, const Names& names) {
  const auto* leaf = dynamic_cast<const AccumulateGrad*>(&node);
  if (leaf == nullptr) {
    return nullptr;
  }
  const auto found = names.find(leaf->variable.unsafeGetTensorImpl());
  return found == names.end() ? nullptr : found->second;
}

Node* root_of(const at::Tensor& loss) {
  GRADWISE_CHECK(loss.defined() && loss.grad_fn() != nullptr, "graph walk",
                 "the loss has no graph: it depends on nothing that asks for a gradient");
  return loss.grad_fn().get();
}

// Every node once, those of the forward pass's beginning first.
std::vector<Node*> nodes_in_order(Node* root) {
  std::vector<Node*> nodes = {root};
  std::unordered_set<const Node*> seen = {root};
  for (std::size_t next = 0; next < nodes.size(); ++next) {
    for (const torch::autograd::Edge& edge : nodes[next]->next_edges()) {
      if (edge.function && seen.insert(edge.function.get()).second) {
        nodes.push_back(edge.function.get());
      }
    }
  }
  std::stable_sort(nodes.begin(), nodes.end(),
                   [](const Node* a, const Node* b) { return a->sequence_nr() < b->sequence_nr(); });
  return nodes;
}

struct Producer {
  std::string layer;
  bool channels = false;  // its units are channels
};

// The nearest parameter below a node, level by level, not through another activation.
Producer producer_of(Node* activation, const Names& names) {
  std::deque<std::pair<Node*, Node*>> queue;  // a node, and the one that it is an input of
  std::unordered_set<const Node*> seen;
  const auto push_inputs = [&queue, &seen](Node* of) {
    for (const torch::autograd::Edge& edge : of->next_edges()) {
      if (edge.function && seen.insert(edge.function.get()).second) {
        queue.emplace_back(edge.function.get(), of);
      }
    }
  };
  push_inputs(activation);
  while (!queue.empty() && seen.size() < kSearchBound) {
    const auto [node, consumer] = queue.front();
    queue.pop_front();
    if (const std::string* parameter = parameter_of(*node, names)) {
      return {layer_of(*parameter), has_channel_units(*consumer)};
    }
    if (!is_activation(*node)) {
      push_inputs(node);
    }
  }
  return {};
}

// Whether a layer's own arithmetic happens here: one of its inputs is a parameter, as it is or transposed.
bool uses_parameter(const Node& node, const Names& names) {
  for (const torch::autograd::Edge& edge : node.next_edges()) {
    if (!edge.function) {
      continue;
    }
    if (parameter_of(*edge.function, names) != nullptr) {
      return true;
    }
    if (is_view(*edge.function)) {
      for (const torch::autograd::Edge& below : edge.function->next_edges()) {
        if (below.function && parameter_of(*below.function, names) != nullptr) {
          return true;
        }
      }
    }
  }
  return false;
}

std::vector<std::string> path_to_loss(Node* root, const Names& names) {
  std::vector<std::string> path;
  Node* node = root;
  while (node != nullptr && !uses_parameter(*node, names) && path.size() < kLongestPath) {
    if (std::string name = operator_name(*node); !name.empty()) {
      path.push_back(std::move(name));
    }
    const auto& edges = node->next_edges();
    const auto next =
        std::find_if(edges.begin(), edges.end(), [](const auto& edge) { return edge.function != nullptr; });
    node = next == edges.end() ? nullptr : next->function.get();
  }
  std::reverse(path.begin(), path.end());
  return path;
}

void read_nodes(const std::vector<Node*>& nodes, const Names& names, GraphWalk& walk) {
  ActivationFigures figures;
  for (Node* node : nodes) {
    if (is_activation(*node)) {
      const std::optional<SavedActivation> saved = saved_activation(*node);
      if (!saved) {
        ++walk.unreadable;
        continue;
      }
      Producer producer = producer_of(node, names);
      figures.add(*saved, producer.channels);
      ActivationReading& reading = walk.activations.emplace_back();
      reading.layer = std::move(producer.layer);
      reading.op = saved->op;
      reading.elements = saved->tensor.numel();
    } else if (const std::optional<SavedBatchNorm> norm = saved_batch_norm(*node)) {
      figures.add(*norm);
      BatchNormReading& reading = walk.batch_norms.emplace_back();
      reading.training = norm->training;
      reading.layer = producer_of(node, names).layer;
    } else if (hides_a_graph(*node)) {
      ++walk.hidden;
    }
  }
  figures.finish(walk.activations, walk.batch_norms);
}

}  // namespace

GraphWalk walk_graph(const at::Tensor& loss, const NamedParameters& parameters) {
  Node* root = root_of(loss);
  const at::NoGradGuard no_grad;
  const Names names = names_by_tensor(parameters);
  GraphWalk walk;
  try {
    read_nodes(nodes_in_order(root), names, walk);
  } catch (const c10::Error& error) {
    if (!was_freed(error)) {
      throw;
    }
    fail_usage("graph walk", "the loss has been through backward already, which frees its graph: walk before it");
  }
  walk.loss_path = path_to_loss(root, names);
  return walk;
}

struct ActivationGradients::Norms {
  std::mutex mutex;  // nodes of several devices run in threads of their own
  std::vector<at::Tensor> norms;
};

ActivationGradients::ActivationGradients(const at::Tensor& loss) : norms_(std::make_shared<Norms>()) {
  struct ReadNorm : torch::autograd::FunctionPreHook {
    ReadNorm(std::shared_ptr<Norms> to, std::size_t index) : norms(std::move(to)), place(index) {}
    torch::autograd::variable_list operator()(const torch::autograd::variable_list& gradients) override {
      if (!gradients.empty() && gradients[0].defined()) {
        const at::NoGradGuard no_grad;
        const at::Tensor norm = gradients[0].norm();
        const std::lock_guard lock(norms->mutex);
        norms->norms[place] = norm;
      }
      return gradients;
    }
    std::shared_ptr<Norms> norms;
    std::size_t place;
  };
  for (Node* node : nodes_in_order(root_of(loss))) {
    if (is_activation(*node)) {
      node->add_pre_hook(std::make_unique<ReadNorm>(norms_, norms_->norms.size()));
      norms_->norms.emplace_back();
    }
  }
}

void ActivationGradients::read_into(GraphWalk& walk) const {
  const std::lock_guard lock(norms_->mutex);
  GRADWISE_CHECK(walk.unreadable == 0 && walk.activations.size() == norms_->norms.size(), "graph walk", "the walk has ",
                 walk.activations.size(), " activations, the gradients were asked of ", norms_->norms.size());
  for (std::size_t i = 0; i < walk.activations.size(); ++i) {
    if (norms_->norms[i].defined()) {
      walk.activations[i].grad_norm = norms_->norms[i].item<double>();
    }
  }
}

}  // namespace gradwise
