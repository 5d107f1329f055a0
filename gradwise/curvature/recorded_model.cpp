#include "gradwise/curvature/recorded_model.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/basic_ops.h>

#include <exception>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// An Error where LibTorch says that it has no formula, or Python that a function of its user's is differentiable once.
void check_has_derivative(const char* place, std::string_view message) {
  GRADWISE_CHECK(message.find("is not implemented") == std::string_view::npos &&
                     message.find("marked with @once_differentiable") == std::string_view::npos,
                 place,
                 "an operator of the model or the loss can't be differentiated as often as this takes: ", message);
}

// A Python function that is differentiable once leaves a node in the gradients' graph that complains where backward
// comes by. It has no way on to the parameters, so that a pass to them alone goes around it, and takes its part for 0.
void check_goes_on(const char* place, const std::vector<at::Tensor>& gradients) {
  std::unordered_set<const torch::autograd::Node*> seen;
  std::vector<const torch::autograd::Node*> open;
  const auto visit = [&seen, &open](const torch::autograd::Node* node) {
    if (node != nullptr && seen.insert(node).second) {
      open.push_back(node);
    }
  };
  for (const at::Tensor& gradient : gradients) {
    visit(gradient.defined() ? gradient.grad_fn().get() : nullptr);
  }
  while (!open.empty()) {
    const torch::autograd::Node* node = open.back();
    open.pop_back();
    const auto* error = dynamic_cast<const torch::autograd::Error*>(node);
    if (error != nullptr && dynamic_cast<const torch::autograd::NotImplemented*>(node) == nullptr) {
      check_has_derivative(place, error->msg);
    }
    for (const torch::autograd::Edge& edge : node->next_edges()) {
      visit(edge.function.get());
    }
  }
}

}  // namespace

at::Tensor checked_loss(const char* place, const LossFunction& loss_function, const at::Tensor& output,
                        const at::Tensor& target_data, const char* source) {
  const at::AutoGradMode grad_mode(true);
  at::Tensor loss = loss_function(output, target_data);
  GRADWISE_CHECK(loss.numel() == 1, place, "the loss has ", loss.numel(), " elements, allowed: one");
  GRADWISE_CHECK(loss.requires_grad(), place, "the loss does not depend on ", source);
  return loss;
}

std::vector<at::Tensor> kept_gradients(const char* place, const at::Tensor& output,
                                       const std::vector<at::Tensor>& inputs, const at::Tensor& weight,
                                       bool create_graph) {
  try {
    std::vector<at::Tensor> gradients =
        torch::autograd::grad({output}, inputs, {weight}, /*retain_graph=*/true, create_graph, /*allow_unused=*/true);
    if (create_graph) {
      check_goes_on(place, gradients);
    }
    return filled_with_zeros(std::move(gradients), inputs);
  } catch (const c10::Error& error) {
    check_has_derivative(place, error.what_without_backtrace());
    throw;
  } catch (const std::exception& error) {
    check_has_derivative(place, error.what());
    throw;
  }
}

}  // namespace gradwise
