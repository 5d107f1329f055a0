#include "gradwise/curvature/output_jacobian.h"

#include <ATen/ops/zeros_like.h>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/functions/linear_backward.h"
#include "gradwise/core/error.h"

namespace gradwise {

OutputJacobian::OutputJacobian(const char* place, const RecordedModel& model) : place_(place), model_(model) {
  GRADWISE_CHECK(model_.output.requires_grad(), place_,
                 "the output does not depend on any parameter that asks for a gradient");
  cotangent_ = generic_weights(model_.output).requires_grad_();
  const LinearityCheck linearity({model_.output});
  transposed_ = flattened(kept_gradients(place_, model_.output, model_.parameters, cotangent_, /*create_graph=*/true));
  linearity.check(place_);
}

at::Tensor OutputJacobian::times(const at::Tensor& vector) const {
  if (!transposed_.requires_grad()) {
    return at::zeros_like(cotangent_.detach());  // the output depends on other parameters alone
  }
  return kept_gradients(place_, transposed_, {cotangent_}, vector, /*create_graph=*/false).front();
}

at::Tensor OutputJacobian::transposed_times(const at::Tensor& weights) const {
  return flattened(kept_gradients(place_, model_.output, model_.parameters, weights, /*create_graph=*/false));
}

}  // namespace gradwise
