#include "gradwise/autograd/functions/differentiable_gradients.h"

#include <ATen/core/grad_mode.h>
#include <ATen/functorch/BatchedTensorImpl.h>
#include <ATen/functorch/TensorWrapper.h>
#include <ATen/ops/any.h>
#include <ATen/ops/ones_like.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/basic_ops.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <unordered_set>
#include <utility>

#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

using torch::autograd::Node;

// Every node behind the tensors, each once.
template <class Visit>
void for_each_node(const Tensors& tensors, const Visit& visit) {
  std::unordered_set<const Node*> seen;
  std::vector<Node*> open;
  const auto add = [&seen, &open](Node* node) {
    if (node != nullptr && seen.insert(node).second) {
      open.push_back(node);
    }
  };
  for (const at::Tensor& tensor : tensors) {
    add(tensor.defined() ? tensor.grad_fn().get() : nullptr);
  }
  while (!open.empty()) {
    Node* node = open.back();
    open.pop_back();
    visit(node);
    for (const torch::autograd::Edge& edge : node->next_edges()) {
      add(edge.function.get());
    }
  }
}

// What a user derives from torch::autograd::Function becomes, in C++ and in Python, whose class the core does not link.
bool is_of_a_users_function(const Node& node) {
  const std::string_view type = typeid(node).name();
  return type.find("CppNode") != std::string_view::npos || type.find("PyNode") != std::string_view::npos;
}

const torch::autograd::Error* dead_end(const Node* node) {
  const auto* error = dynamic_cast<const torch::autograd::Error*>(node);
  // An operator without a formula goes on to its inputs, so that a backward pass runs into its error.
  return dynamic_cast<const torch::autograd::NotImplemented*>(error) == nullptr ? error : nullptr;
}

// The tensor beneath the dimensions that vmap hides.
const at::Tensor& beneath_vmap(const at::Tensor& tensor) {
  const auto* batched = at::functorch::maybeGetBatchedImpl(tensor);
  return batched == nullptr ? tensor : beneath_vmap(batched->value());
}

// Tells where a function gives a gradient that has lost its graph.
class LostGraphHook : public torch::autograd::FunctionPostHook {
 public:
  explicit LostGraphHook(const Node* node) : node_(node) {}

  Tensors operator()(const Tensors& found, const Tensors& arrived) override {
    if (std::none_of(arrived.begin(), arrived.end(), [](const at::Tensor& g) { return has_graph(g); })) {
      return found;
    }
    Tensors marked = found;
    for (at::Tensor& gradient : marked) {
      gradient = is_lost(gradient) ? ending_in_error(gradient) : gradient;
    }
    return marked;
  }

 private:
  static bool has_graph(const at::Tensor& gradient) {
    return gradient.defined() && beneath_vmap(gradient).requires_grad();
  }

  static bool is_lost(const at::Tensor& gradient) {
    if (!gradient.defined()) {
      return false;
    }
    const at::Tensor& plain = beneath_vmap(gradient);
    if (plain.requires_grad()) {
      return dead_end(plain.grad_fn().get()) != nullptr;
    }
    if (at::functorch::maybeGetTensorWrapper(plain) != nullptr) {
      return false;
    }
    // vmap gives no values, but there is nothing of it in the tensor.
    const c10::impl::ExcludeDispatchKeyGuard without_layers(c10::DispatchKeySet(
        {c10::DispatchKey::FuncTorchDynamicLayerFrontMode, c10::DispatchKey::FuncTorchDynamicLayerBackMode}));
    return plain.layout() != at::kStrided || at::any(plain).item<bool>();
  }

  [[nodiscard]] at::Tensor ending_in_error(const at::Tensor& gradient) const {
    if (const auto* batched = at::functorch::maybeGetBatchedImpl(gradient)) {
      return at::functorch::makeBatched(ending_in_error(batched->value()), batched->bdim(), batched->level());
    }
    at::Tensor marked = gradient.variable_data();
    torch::autograd::create_gradient_edge(
        marked, c10::make_intrusive<torch::autograd::Error>(
                    function_name(*node_) +
                    " gives a gradient that is not differentiable: its backward is marked @once_differentiable, or "
                    "runs without gradients or on detached tensors; allowed: a backward of differentiable operators"));
    return marked;
  }

  const Node* node_;  // which owns the hook
};

// Has the hook on nodes for a scope.
class LostGraphHooks {
 public:
  explicit LostGraphHooks(std::vector<Node*> nodes) : nodes_(std::move(nodes)) {
    for (Node* node : nodes_) {
      keys_.push_back(node->add_post_hook(std::make_unique<LostGraphHook>(node)));
    }
  }
  ~LostGraphHooks() {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      nodes_[i]->del_post_hook(keys_[i]);
    }
  }
  LostGraphHooks(const LostGraphHooks&) = delete;
  LostGraphHooks& operator=(const LostGraphHooks&) = delete;

 private:
  std::vector<Node*> nodes_;
  std::vector<std::uintptr_t> keys_;
};

// Where a graph begins that leads to no tensor.
struct GraphStart : Node {
 protected:
  Tensors apply(Tensors&& /*gradients*/) override { return {}; }
};

Tensors started(const Tensors& outputs, Tensors weights) {
  weights.resize(outputs.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!weights[i].defined() && outputs[i].numel() == 1) {
      weights[i] = at::ones_like(outputs[i].detach());
    }
    if (weights[i].defined() && !weights[i].requires_grad()) {
      weights[i] = weights[i].variable_data();
      torch::autograd::create_gradient_edge(weights[i], c10::make_intrusive<GraphStart>());
    }
  }
  return weights;
}

}  // namespace

std::vector<Node*> nodes_of_users_functions(const Tensors& outputs) {
  std::vector<Node*> found;
  for_each_node(outputs, [&found](Node* node) {
    if (is_of_a_users_function(*node)) {
      found.push_back(node);
    }
  });
  return found;
}

std::string function_name(const Node& node) {
  constexpr std::string_view kFrame = "torch::autograd::CppNode<";
  std::string name = node.name();
  if (name.starts_with(kFrame)) {
    name = name.substr(kFrame.size(), name.size() - kFrame.size() - 1);
  }
  return name;
}

Tensors with_starts(const Tensors& outputs, Tensors weights) {
  return nodes_of_users_functions(outputs).empty() ? std::move(weights) : started(outputs, std::move(weights));
}

Tensors differentiable_gradients(const Tensors& outputs, const Tensors& inputs, const Tensors& weights,
                                 bool create_graph) {
  if (!create_graph) {
    return torch::autograd::grad(outputs, inputs, weights, /*retain_graph=*/true, /*create_graph=*/false,
                                 /*allow_unused=*/true);
  }
  std::vector<Node*> nodes = nodes_of_users_functions(outputs);
  const bool plain = nodes.empty() || inside_transform();
  const LostGraphHooks hooks(std::move(nodes));
  return torch::autograd::grad(outputs, inputs, plain ? weights : started(outputs, weights), /*retain_graph=*/true,
                               /*create_graph=*/true, /*allow_unused=*/true);
}

void check_goes_on(const char* place, const Tensors& tensors) {
  for_each_node(tensors, [place](const Node* node) {
    const torch::autograd::Error* error = dead_end(node);
    GRADWISE_CHECK(error == nullptr, place, "an operator can't be differentiated as often as this takes: ", error->msg);
  });
}

}  // namespace gradwise
