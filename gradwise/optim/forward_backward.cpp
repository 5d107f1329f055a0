#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/scalar_tensor.h>

#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/optim/autocast.h"
#include "gradwise/optim/autograd_optimizer_impl.h"
#include "gradwise/optim/guarded_forward.h"
#include "gradwise/optim/scalar_readings.h"

namespace gradwise {

at::Tensor AutogradOptimizer::Impl::forward_backward(const LossFunction& loss_function, const Batch& batch,
                                                     double weight) {
  PhaseClock clock;
  at::Tensor output;
  at::Tensor loss;
  {
    const AutocastScope autocast(batch.input.device().type(), dtype);
    output = guarded_forward(model, batch);
    loss = guarded_loss(loss_function, output, batch.target);
  }
  clock.add_to(seconds.forward);
  GRADWISE_CHECK(loss.requires_grad(), "loss", "the loss does not depend on any parameter that asks for a gradient");
  if (forward_listener) {
    forward_listener(batch, output, loss);
  }
  output.reset();  // the graph alone decides how long it lives
  if (in_backward) {
    in_backward->run_last();
  }
  const at::Tensor root = scaling() ? scaler.scale(loss) : loss;
  if (weight == 1.0) {
    root.backward();
  } else {
    root.backward(at::scalar_tensor(weight, root.options()).expand_as(root));
  }
  clock.add_to(seconds.backward);
  return loss.detach();
}

// A forward pass over a bad batch spoils the statistics of batch norm before anyone can know.
void AutogradOptimizer::Impl::remember_buffers() {
  if (!guarded_buffers.empty() && refuses_nonfinite()) {
    const at::NoGradGuard no_grad;
    at::_foreach_copy_(buffer_copies, guarded_buffers);
  }
}

void AutogradOptimizer::Impl::collect_gradients() {
  gradients.clear();
  with_gradient.clear();
  with_gradient_index.clear();
  missing.clear();
  for (std::size_t i = 0; i < trainable.size(); ++i) {
    const at::Tensor& gradient = trainable.tensors[i].grad();
    if (gradient.defined()) {
      gradients.push_back(gradient);
      with_gradient.push_back(trainable.tensors[i]);
      with_gradient_index.push_back(i);
    } else if (trainable.tensors[i].requires_grad()) {
      missing.push_back(trainable.names[i]);
    }
  }
}

void AutogradOptimizer::Impl::note_missing_gradients(StepInfo& info) {
  for (const std::string& name : missing) {
    if (told.insert(name).second) {
      Issue issue;
      issue.rule = "no_gradient";
      issue.layer = name;
      issue.step = info.step;
      issue.message = "parameter \"" + name + "\" got no gradient: the loss does not depend on it";
      issue.advice = "use it in the forward pass, or set requires_grad to false";
      info.issues.push_back(std::move(issue));
    }
  }
}

void AutogradOptimizer::Impl::clear_gradients() {
  for (const at::Tensor& parameter : trainable.tensors) {
    at::Tensor(parameter).mutable_grad().reset();
  }
  gradients.clear();
}

// Loss and norm reach the host together.
void AutogradOptimizer::Impl::read_window(StepInfo& info, double norm) {
  read_window(info, at::scalar_tensor(norm, at::kDouble));
}

void AutogradOptimizer::Impl::read_window(StepInfo& info, const at::Tensor& norm) {
  losses.push_back(norm);
  const std::vector<double> values = read_scalars(losses);
  losses.pop_back();
  info.grad_norm = values.back();
  double sum = 0;
  for (std::size_t i = 0; i + 1 < values.size(); ++i) {
    sum += values[i] * loss_samples[i];
  }
  info.loss = sum / static_cast<double>(samples);
}

}  // namespace gradwise
