#include "gradwise/monitor/loss_probe.h"

#include <ATen/core/grad_mode.h>

#include <utility>
#include <vector>

#include "gradwise/core/random_state.h"

namespace gradwise {

LossProbe::LossProbe(Model model, LossFunction loss_function)
    : model_(std::move(model)), loss_function_(std::move(loss_function)) {}

void LossProbe::begin(const Batch& batch) {
  random_before_ = random_state(batch.input.device());
  batch_ = {};
}

void LossProbe::take(const Batch& batch, const at::Tensor& loss) {
  if (random_before_) {
    batch_ = batch;
    loss_ = loss.item<double>();
  }
}

double LossProbe::finish(const StepInfo& step) {
  const std::optional<State> random_before = std::exchange(random_before_, std::nullopt);
  const Batch batch = std::exchange(batch_, {});
  if (!random_before || !batch.input.defined() || step.skipped) {
    return kNotMeasured;
  }
  const at::NoGradGuard no_grad;
  const RandomStateGuard random(batch.input.device());
  std::vector<at::Tensor> buffers;
  for (const at::Tensor& buffer : model_.buffers.tensors) {
    buffers.push_back(buffer.clone());
  }
  set_random_state(*random_before, batch.input.device());
  const double after = loss_function_(model_.forward(batch), batch.target).item<double>();
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    at::Tensor(model_.buffers.tensors[i]).copy_(buffers[i]);
  }
  return step.loss + (after - loss_);
}

}  // namespace gradwise
