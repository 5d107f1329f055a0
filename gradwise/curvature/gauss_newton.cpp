#include "gradwise/curvature/gauss_newton.h"

#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include "gradwise/core/error.h"

namespace gradwise {

using torch::autograd::grad;

GaussNewton::GaussNewton(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
                         const at::Tensor& target_data)
    : model_("gauss_newton", model, input_data, target_data) {
  GRADWISE_CHECK(model_.output.requires_grad(), "gauss_newton",
                 "the output does not depend on any parameter that asks for a gradient");
  cotangent_ = at::zeros_like(model_.output.detach()).requires_grad_();
  transposed_ = model_.flattened(grad({model_.output}, model_.parameters, {cotangent_}, /*retain_graph=*/true,
                                      /*create_graph=*/true, /*allow_unused=*/true));
  output_ = model_.output.detach().requires_grad_();
  const at::Tensor loss = checked_loss("gauss_newton", loss_function, output_, target_data);
  loss_gradient_ = grad({loss}, {output_}, {}, /*retain_graph=*/true, /*create_graph=*/true).front();
}

at::Tensor GaussNewton::apply(const at::Tensor& vector) const {
  GRADWISE_CHECK(vector.dim() == 1 && vector.numel() == size(), "gauss_newton", "the vector has the shape ",
                 vector.sizes(), ", allowed: [", size(), "]");
  if (!loss_gradient_.requires_grad()) {
    return at::zeros_like(vector);  // the loss is linear in the output
  }
  const at::Tensor J_v = grad({transposed_}, {cotangent_}, {vector}, /*retain_graph=*/true).front();
  const at::Tensor H_J_v = grad({loss_gradient_}, {output_}, {J_v}, /*retain_graph=*/true).front();
  return model_.flattened(grad({model_.output}, model_.parameters, {H_J_v}, /*retain_graph=*/true,
                               /*create_graph=*/false, /*allow_unused=*/true));
}

}  // namespace gradwise
