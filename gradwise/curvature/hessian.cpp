#include "gradwise/curvature/hessian.h"

#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

#include "gradwise/core/error.h"

namespace gradwise {

Hessian::Hessian(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
                 const at::Tensor& target_data)
    : model_("hessian", model, input_data, target_data) {
  const at::Tensor loss = checked_loss("hessian", loss_function, model_.output, target_data);
  graph_gradient_ = model_.flattened(torch::autograd::grad({loss}, model_.parameters, {}, /*retain_graph=*/true,
                                                           /*create_graph=*/true, /*allow_unused=*/true));
  gradient_ = graph_gradient_.detach();
}

at::Tensor Hessian::apply(const at::Tensor& vector) const {
  GRADWISE_CHECK(vector.dim() == 1 && vector.numel() == size(), "hessian", "the vector has the shape ", vector.sizes(),
                 ", allowed: [", size(), "]");
  if (!graph_gradient_.requires_grad()) {
    return at::zeros_like(vector);  // the loss is linear in the parameters
  }
  return model_.flattened(torch::autograd::grad({graph_gradient_}, model_.parameters, {vector}, /*retain_graph=*/true,
                                                /*create_graph=*/false, /*allow_unused=*/true));
}

}  // namespace gradwise
