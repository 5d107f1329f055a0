#include "benchmarks/training/hand_loop.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/stack.h>

#include <cmath>
#include <numbers>

#include "gradwise/autograd/graph_walk.h"
#include "gradwise/optim/torch_optimizers.h"

namespace gradwise::bench {

HandLoop::HandLoop(const Setting& setting, std::int64_t steps)
    : model_(make_model(setting)),
      optimizer_(make_optimizer(make_optimizer_options(), model_.parameters)),
      parameters_(model_.parameters.tensors),
      steps_(steps) {
  for (const at::Tensor& parameter : parameters_) {
    averages_.push_back(parameter.detach().clone());
  }
}

void HandLoop::update() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  gradients.reserve(parameters_.size());
  for (const at::Tensor& parameter : parameters_) {
    gradients.push_back(parameter.grad());
  }
  const double norm = at::stack(at::_foreach_norm(gradients, 2)).norm().item<double>();
  norms_.push_back(norm);
  if (!std::isfinite(norm)) {
    return;
  }
  if (const double coefficient = kMaxNorm / (norm + 1e-6); coefficient < 1) {
    at::_foreach_mul_(gradients, coefficient);
  }
  optimizer_->step();
  at::_foreach_lerp_(averages_, parameters_, 1 - kDecay);
}

void HandLoop::clear_gradients() {
  for (at::Tensor& parameter : parameters_) {
    parameter.mutable_grad().reset();
  }
}

std::int64_t HandLoop::train_epoch(BatchSource& source) {
  const TrainingModeGuard training(model_, true);
  std::int64_t images = 0;
  source.start(epoch_++, 0);
  for (Batch batch; source.next(batch);) {
    const at::Tensor loss = at::cross_entropy_loss(model_.forward(batch), batch.target);
    if (walk_every_ > 0 && step_ % walk_every_ == 0) {
      activations_ += walk_graph(loss, model_.parameters).activations.size();
    }
    loss.backward();
    losses_.push_back(loss.item<double>());
    if (watch_) {
      (void)watch_->step();
    }
    update();
    if (watch_) {
      (void)watch_->after_update();
    }
    clear_gradients();
    const double done = static_cast<double>(++step_) / static_cast<double>(steps_);
    optimizer_->param_groups()[0].options().set_lr(kLearningRate * 0.5 * (1 + std::cos(std::numbers::pi * done)));
    images += batch.size();
  }
  return images;
}

}  // namespace gradwise::bench
