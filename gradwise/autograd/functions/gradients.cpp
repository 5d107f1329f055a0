#include "gradwise/autograd/functions/gradients.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include "gradwise/autograd/functions/differentiable_gradients.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

void check_gradients(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs) {
  GRADWISE_CHECK(!inputs.empty(), "gradients", "there is no input to differentiate by");
  GRADWISE_CHECK(!outputs.empty(), "gradients", "there is no output to differentiate");
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    GRADWISE_CHECK(inputs[i].defined() && inputs[i].requires_grad(), "gradients", "input ", i,
                   " asks for no gradient: set requires_grad on it");
  }
  GRADWISE_CHECK(grad_outputs.empty() || grad_outputs.size() == outputs.size(), "gradients", "there are ",
                 outputs.size(), " outputs and ", grad_outputs.size(), " grad_outputs");
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const at::Tensor& output = outputs[i];
    GRADWISE_CHECK(output.defined() && output.requires_grad(), "gradients", "output ", i,
                   " has no graph: it does not depend on anything that asks for a gradient, or was computed without");
    if (grad_outputs.empty()) {
      GRADWISE_CHECK(output.numel() == 1, "gradients", "output ", i, " has the shape ", output.sizes(),
                     "; without grad_outputs, allowed: a scalar");
    } else {
      GRADWISE_CHECK(grad_outputs[i].sizes() == output.sizes(), "gradients", "grad_outputs ", i, " has the shape ",
                     grad_outputs[i].sizes(), ", its output ", output.sizes());
    }
  }
}

}  // namespace

Tensors gradients(const Tensors& outputs, const Tensors& inputs, const Tensors& grad_outputs,
                  const GradientsOptions& options) {
  check_gradients(outputs, inputs, grad_outputs);
  if (options.create_graph) {
    return filled_with_zeros(differentiable_gradients(outputs, inputs, grad_outputs), inputs);
  }
  return filled_with_zeros(torch::autograd::grad(outputs, inputs, grad_outputs, options.retain_graph,
                                                 /*create_graph=*/false, /*allow_unused=*/true),
                           inputs);
}

Tensors filled_with_zeros(Tensors gradients, const Tensors& like) {
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (!gradients[i].defined()) {
      gradients[i] = at::zeros_like(like[i]);
    }
  }
  return gradients;
}

at::Tensor flattened(const Tensors& tensors) {
  GRADWISE_CHECK(!tensors.empty(), "flattened", "there is no tensor");
  Tensors parts;
  parts.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    parts.push_back(tensor.reshape({-1}));
  }
  return at::cat(parts);
}

Tensors unflattened(const at::Tensor& vector, const Tensors& like) {
  std::int64_t needed = 0;
  for (const at::Tensor& tensor : like) {
    needed += tensor.numel();
  }
  GRADWISE_CHECK(vector.dim() == 1 && vector.numel() == needed, "unflattened", "the vector has the shape ",
                 vector.sizes(), ", allowed: [", needed, "]");
  Tensors parts;
  parts.reserve(like.size());
  std::int64_t start = 0;
  for (const at::Tensor& tensor : like) {
    parts.push_back(vector.narrow(0, start, tensor.numel()).view(tensor.sizes()));
    start += tensor.numel();
  }
  return parts;
}

at::Tensor gradient_penalty(const at::Tensor& output, const at::Tensor& input, double target) {
  GRADWISE_CHECK(input.dim() >= 1 && input.size(0) > 0, "gradient_penalty", "the input has the shape ", input.sizes(),
                 ", allowed: (batch, ...) with at least one sample");
  const at::Tensor gradient = gradients({output}, {input}, {at::ones_like(output)}, {.create_graph = true}).front();
  check_goes_on("gradient_penalty", {gradient});
  return gradient.reshape({input.size(0), input.numel() / input.size(0)}).norm(2, 1).sub(target).pow(2).mean();
}

}  // namespace gradwise
