#include "benchmarks/training/hand_loop.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <numbers>

#include "gradwise/autograd/graph_walk.h"
#include "gradwise/optim/clipping.h"
#include "gradwise/optim/torch_optimizers.h"

namespace gradwise::bench {

HandLoop::HandLoop(const Setting& setting, std::int64_t steps, Update update)
    : model_(make_model(setting)), parameters_(model_.parameters.tensors), steps_(steps) {
  for (const at::Tensor& parameter : parameters_) {
    averages_.push_back(parameter.detach().clone());
    first_.push_back(at::zeros_like(parameter));
    second_.push_back(at::zeros_like(parameter));
    counts_.push_back(at::zeros({}));
  }
  if (update == Update::gradwise) {
    fused_.reset(dynamic_cast<FusedOptimizer*>(make_optimizer(make_optimizer_options(), model_.parameters).release()));
  }
}

// Gradwise's Watch has read it already where it is on.
double HandLoop::read_norm(const std::vector<at::Tensor>& gradients) {
  if (!fused_) {
    return at::stack(at::_foreach_norm(gradients, 2)).norm().item<double>();
  }
  const double watched = watch_ ? watch_->gradient_norm() : kNotMeasured;
  return std::isfinite(watched) ? watched : pass_.norm(gradients);
}

void HandLoop::update() {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  gradients.reserve(parameters_.size());
  for (const at::Tensor& parameter : parameters_) {
    gradients.push_back(parameter.grad());
  }
  const double norm = read_norm(gradients);
  norms_.push_back(norm);
  if (!std::isfinite(norm)) {
    return;
  }
  const double coefficient = clip_coefficient(norm, kMaxNorm);
  if (fused_) {
    fused_->param_groups()[0].options().set_lr(rate_);
    fused_->update({.grad_scale = coefficient, .averages = averages_, .average_share = 1 - kDecay});
  } else {
    update_by_aten(gradients, coefficient);
  }
}

void HandLoop::update_by_aten(const std::vector<at::Tensor>& gradients, double coefficient) {
  if (coefficient < 1) {
    at::_foreach_mul_(gradients, coefficient);
  }
  at::_foreach_add_(counts_, 1);
  static const OptimizerOptions o = make_optimizer_options();
  at::_fused_adamw_(parameters_, gradients, first_, second_, {}, counts_, rate_, o.beta1, o.beta2, o.weight_decay,
                    o.eps, /*amsgrad=*/false, /*maximize=*/false);
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
      (void)watch_->step(1.0, fused_ != nullptr);
    }
    update();
    if (watch_) {
      (void)(fused_ ? watch_->after_update(fused_->weight_moments()) : watch_->after_update());
    }
    clear_gradients();
    const double done = static_cast<double>(++step_) / static_cast<double>(steps_);
    rate_ = kLearningRate * 0.5 * (1 + std::cos(std::numbers::pi * done));
    images += batch.size();
  }
  return images;
}

}  // namespace gradwise::bench
