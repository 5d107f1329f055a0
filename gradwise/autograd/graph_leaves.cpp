#include "gradwise/autograd/graph_leaves.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>

#include <unordered_set>

namespace gradwise {

std::vector<at::Tensor> graph_leaves(const std::vector<at::Tensor>& outputs) {
  std::vector<at::Tensor> leaves;
  std::unordered_set<const torch::autograd::Node*> seen;
  std::vector<torch::autograd::Node*> open;
  for (const at::Tensor& output : outputs) {
    if (output.grad_fn()) {
      open.push_back(output.grad_fn().get());
    }
  }
  while (!open.empty()) {
    torch::autograd::Node* node = open.back();
    open.pop_back();
    if (!seen.insert(node).second) {
      continue;
    }
    if (const auto* leaf = dynamic_cast<torch::autograd::AccumulateGrad*>(node)) {
      leaves.push_back(leaf->variable);
    }
    for (const torch::autograd::Edge& edge : node->next_edges()) {
      if (edge.is_valid()) {
        open.push_back(edge.function.get());
      }
    }
  }
  return leaves;
}

}  // namespace gradwise
