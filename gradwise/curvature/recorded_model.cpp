#include "gradwise/curvature/recorded_model.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>

#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {

RecordedModel::RecordedModel(const char* place, const Model& model, const at::Tensor& input_data,
                             const at::Tensor& target_data) {
  for (const at::Tensor& tensor : model.parameters.tensors) {
    if (tensor.requires_grad()) {
      parameters.push_back(tensor);
    }
  }
  GRADWISE_CHECK(!parameters.empty(), place, "no parameter of the model asks for a gradient");
  const RandomStateGuard random(input_data.device());
  std::vector<at::Tensor> buffers;
  for (const at::Tensor& buffer : model.buffers.tensors) {
    buffers.push_back(buffer.clone());
  }
  const at::AutoGradMode grad_mode(true);
  output = model.forward({input_data, target_data, {}});
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    at::Tensor(model.buffers.tensors[i]).data().copy_(buffers[i]);
  }
}

at::Tensor RecordedModel::flattened(const std::vector<at::Tensor>& gradients) const {
  std::vector<at::Tensor> parts;
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    parts.push_back((gradients[i].defined() ? gradients[i] : at::zeros_like(parameters[i])).reshape({-1}));
  }
  return at::cat(parts);
}

at::Tensor checked_loss(const char* place, const LossFunction& loss_function, const at::Tensor& output,
                        const at::Tensor& target_data) {
  const at::AutoGradMode grad_mode(true);
  const at::Tensor loss = loss_function(output, target_data);
  GRADWISE_CHECK(loss.numel() == 1, place, "the loss has ", loss.numel(), " elements, allowed: one");
  GRADWISE_CHECK(loss.requires_grad(), place, "the loss does not depend on any parameter that asks for a gradient");
  return loss;
}

}  // namespace gradwise
