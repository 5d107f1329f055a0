#include "gradwise/autograd/per_sample/open_use.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <numbers>

namespace gradwise {
namespace {

// Weights in [1, 2) that differ from sample to sample: multiples of an irrational number, without their whole part.
at::Tensor distinct_weights(const at::Tensor& losses, double irrational) {
  const at::Tensor multiples = at::arange(losses.size(0), losses.options().dtype(at::kDouble)) * irrational;
  return (multiples - multiples.floor() + 1).to(losses.scalar_type());
}

// Uses whose gradient is rounding beside the others': of a shift that a norm behind it takes out again.
std::vector<bool> rounding_alone(const std::vector<OpenUse>& uses) {
  std::vector<double> norms;
  for (const OpenUse& open : uses) {
    norms.push_back(open.gradient.to(at::kDouble).norm().item<double>());
  }
  const double largest = norms.empty() ? 0 : *std::ranges::max_element(norms);
  std::vector<bool> found;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const bool wide = uses[i].gradient.scalar_type() == at::kDouble;
    found.push_back(norms[i] <= (wide ? 1e-13 : 1e-5) * largest);
  }
  return found;
}

}  // namespace

std::vector<at::Tensor> arriving_gradients(const std::vector<at::Tensor>& roots, const std::vector<at::Tensor>& weights,
                                           const std::vector<torch::autograd::Node*>& nodes, bool create_graph) {
  if (nodes.empty()) {
    return {};  // the engine would take it for a backward pass to all leaves
  }
  torch::autograd::edge_list from;
  for (const at::Tensor& root : roots) {
    from.push_back(torch::autograd::impl::gradient_edge(root));
  }
  torch::autograd::edge_list to;
  for (torch::autograd::Node* node : nodes) {
    to.emplace_back(node->getptr(), 0);
  }
  return torch::autograd::Engine::get_default_engine().execute(from, weights, /*keep_graph=*/true, create_graph,
                                                               /*accumulate_grad=*/false, to);
}

std::vector<at::Tensor> arriving_gradients(const at::Tensor& root, const at::Tensor& weights,
                                           const std::vector<torch::autograd::Node*>& nodes) {
  return arriving_gradients({root}, {weights}, nodes, /*create_graph=*/false);
}

std::optional<std::vector<SampleLayout>> layouts_of(const at::Tensor& losses, const std::vector<OpenUse>& uses,
                                                    bool& certain) {
  std::vector<std::vector<SampleLayout>> left;
  std::vector<torch::autograd::Node*> nodes;
  for (const OpenUse& open : uses) {
    left.push_back(possible_layouts(open.operand, seen_by(open.operand, open.gradient), losses.size(0)));
    nodes.push_back(open.use.node);
  }
  const std::vector<bool> rounding = rounding_alone(uses);
  for (const double irrational : {std::numbers::phi, std::numbers::sqrt2}) {
    const at::Tensor weights = distinct_weights(losses, irrational);
    const std::vector<at::Tensor> weighted = arriving_gradients(losses, weights, nodes);
    certain = true;
    for (std::size_t i = 0; i < uses.size(); ++i) {
      const at::Tensor gradient = seen_by(uses[i].operand, uses[i].gradient);
      const std::vector<SampleLayout> possible = left[i];
      std::erase_if(left[i], [&](SampleLayout layout) {
        return !weighted[i].defined() || !is_laid_out(gradient, seen_by(uses[i].operand, weighted[i]), weights, layout);
      });
      if (left[i].empty() && rounding[i]) {
        left[i] = possible;
        certain = false;
      }
      if (left[i].empty()) {
        return std::nullopt;
      }
      certain = certain && left[i].size() == 1 && gradient.count_nonzero().item<std::int64_t>() > 0;
    }
    if (certain) {
      break;
    }
  }
  std::vector<SampleLayout> found;
  for (const auto& layouts : left) {
    found.push_back(layouts.front());
  }
  return found;
}

}  // namespace gradwise
