#include "gradwise/curvature/hessian.h"

#include <ATen/ops/zeros_like.h>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/core/buffer_state.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {

Hessian::Hessian(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
                 const at::Tensor& target_data) {
  const RandomStateGuard random(input_data.device());
  const BufferStateGuard buffers(model.buffers);
  model_ = record_model("hessian", model, input_data, target_data);
  const at::Tensor loss =
      checked_loss("hessian", loss_function, model_.output, target_data, "any parameter that asks for a gradient");
  graph_gradient_ = flattened(kept_gradients("hessian", loss, model_.parameters, {}, /*create_graph=*/true));
  gradient_ = graph_gradient_.detach();
}

at::Tensor Hessian::apply(const at::Tensor& vector) const {
  GRADWISE_CHECK(vector.dim() == 1 && vector.numel() == size(), "hessian", "the vector has the shape ", vector.sizes(),
                 ", allowed: [", size(), "]");
  if (!graph_gradient_.requires_grad()) {
    return at::zeros_like(vector);  // the loss is linear in the parameters
  }
  return flattened(kept_gradients("hessian", graph_gradient_, model_.parameters, vector, /*create_graph=*/false));
}

}  // namespace gradwise
