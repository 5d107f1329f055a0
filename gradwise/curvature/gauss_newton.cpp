#include "gradwise/curvature/gauss_newton.h"

#include <ATen/ops/zeros_like.h>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/core/buffer_state.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {

GaussNewton::GaussNewton(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
                         const at::Tensor& target_data) {
  const RandomStateGuard random(input_data.device());
  const BufferStateGuard buffers(model.buffers);
  model_ = record_model("gauss_newton", model, input_data, target_data);
  GRADWISE_CHECK(model_.output.requires_grad(), "gauss_newton",
                 "the output does not depend on any parameter that asks for a gradient");
  cotangent_ = at::zeros_like(model_.output.detach()).requires_grad_();
  transposed_ =
      flattened(kept_gradients("gauss_newton", model_.output, model_.parameters, cotangent_, /*create_graph=*/true));
  output_ = model_.output.detach().requires_grad_();
  const at::Tensor loss = checked_loss("gauss_newton", loss_function, output_, target_data, "the model's output");
  loss_gradient_ = kept_gradients("gauss_newton", loss, {output_}, {}, /*create_graph=*/true).front();
}

at::Tensor GaussNewton::apply(const at::Tensor& vector) const {
  GRADWISE_CHECK(vector.dim() == 1 && vector.numel() == size(), "gauss_newton", "the vector has the shape ",
                 vector.sizes(), ", allowed: [", size(), "]");
  if (!loss_gradient_.requires_grad()) {
    return at::zeros_like(vector);  // the loss is linear in the output
  }
  const auto times = [](const at::Tensor& of, const at::Tensor& by, const at::Tensor& weight) {
    return kept_gradients("gauss_newton", of, {by}, weight, /*create_graph=*/false).front();
  };
  const at::Tensor J_v = times(transposed_, cotangent_, vector);
  const at::Tensor H_J_v = times(loss_gradient_, output_, J_v);
  return flattened(kept_gradients("gauss_newton", model_.output, model_.parameters, H_J_v, /*create_graph=*/false));
}

}  // namespace gradwise
