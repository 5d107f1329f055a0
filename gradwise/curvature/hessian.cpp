#include "gradwise/curvature/hessian.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

// One vector of tensors that may be undefined: those that the output does not depend on count as 0.
at::Tensor flattened(const std::vector<at::Tensor>& tensors, const std::vector<at::Tensor>& like) {
  std::vector<at::Tensor> parts;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    parts.push_back((tensors[i].defined() ? tensors[i] : at::zeros_like(like[i])).reshape({-1}));
  }
  return at::cat(parts);
}

}  // namespace

Hessian::Hessian(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
                 const at::Tensor& target_data) {
  for (const at::Tensor& tensor : model.parameters.tensors) {
    if (tensor.requires_grad()) {
      parameters_.push_back(tensor);
    }
  }
  GRADWISE_CHECK(!parameters_.empty(), "hessian", "no parameter of the model asks for a gradient");
  const RandomStateGuard random(input_data.device());
  std::vector<at::Tensor> buffers;
  for (const at::Tensor& buffer : model.buffers.tensors) {
    buffers.push_back(buffer.clone());
  }
  const at::AutoGradMode grad_mode(true);
  const at::Tensor loss = loss_function(model.forward({input_data, target_data, {}}), target_data);
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    at::Tensor(model.buffers.tensors[i]).data().copy_(buffers[i]);
  }
  GRADWISE_CHECK(loss.numel() == 1, "hessian", "the loss has ", loss.numel(), " elements, allowed: one");
  GRADWISE_CHECK(loss.requires_grad(), "hessian", "the loss does not depend on any parameter that asks for a gradient");
  graph_gradient_ = flattened(torch::autograd::grad({loss}, parameters_, {}, /*retain_graph=*/true,
                                                    /*create_graph=*/true, /*allow_unused=*/true),
                              parameters_);
  gradient_ = graph_gradient_.detach();
}

at::Tensor Hessian::apply(const at::Tensor& vector) const {
  GRADWISE_CHECK(vector.dim() == 1 && vector.numel() == size(), "hessian", "the vector has the shape ", vector.sizes(),
                 ", allowed: [", size(), "]");
  if (!graph_gradient_.requires_grad()) {
    return at::zeros_like(vector);  // the loss is linear in the parameters
  }
  return flattened(torch::autograd::grad({graph_gradient_}, parameters_, {vector}, /*retain_graph=*/true,
                                         /*create_graph=*/false, /*allow_unused=*/true),
                   parameters_);
}

}  // namespace gradwise
