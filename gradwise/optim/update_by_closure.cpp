#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>

#include <cmath>
#include <utility>

#include "gradwise/optim/autograd_optimizer_impl.h"
#include "gradwise/optim/clipping.h"
#include "gradwise/optim/closure_driven.h"

namespace gradwise {
namespace {

// Thrown through LBFGS's line search when an evaluation is not finite.
struct NonfiniteEvaluation {};

}  // namespace

// One evaluation of the window for a line search. Its first one is what the step reports.
at::Tensor AutogradOptimizer::Impl::evaluate_window(StepInfo& info) {
  clear_gradients();
  losses.clear();
  at::Tensor total;
  for (const MicroBatch& micro : kept) {
    losses.push_back(forward_backward(micro.loss_function, micro.batch, micro.weight * shortfall()));
    const at::Tensor share = losses.back().mul(micro.weight * shortfall());
    total = total.defined() ? total.add(share) : share;
  }
  collect_gradients();
  StepInfo here;
  here.step = info.step;
  read_window(here, global_norm(gradients));
  if ((!gradients_finite(here, true) || !std::isfinite(here.loss)) && options.on_nonfinite != "ignore") {
    if (here.issues.empty()) {
      Issue issue;
      issue.rule = "nonfinite_loss";
      issue.step = info.step;
      issue.message = "the loss is not finite";
      issue.advice = "lower the learning rate or look for a bad input";
      here.issues.push_back(std::move(issue));
    }
    info.issues.insert(info.issues.end(), here.issues.begin(), here.issues.end());
    throw NonfiniteEvaluation{};
  }
  if (std::isnan(info.loss)) {
    info.loss = here.loss;
    info.grad_norm = info.grad_norm_clipped = here.grad_norm;
    note_missing_gradients(info);
  }
  return total;
}

// LBFGS: nothing is clipped, for its line search needs the true gradient.
void AutogradOptimizer::Impl::update_by_closure(StepInfo& info) {
  PhaseClock clock;
  const bool measure = measures_weights(info);
  if (measure) {
    weight_statistics.before_update(trainable.tensors);
  }
  std::vector<at::Tensor> parameters_before;
  for (const at::Tensor& parameter : trainable.tensors) {
    parameters_before.push_back(parameter.detach().clone());
  }
  try {
    optimizer->step([this, &info] { return evaluate_window(info); });
    if (measure) {
      weight_statistics.after_update(trainable.tensors, info);
    }
    if (average != nullptr) {
      average->update();
    }
  } catch (const NonfiniteEvaluation&) {
    const at::NoGradGuard no_grad;
    at::_foreach_copy_(trainable.tensors, parameters_before);
    optimizer->state().clear();  // its history may hold the bad evaluation
    if (auto* driven = dynamic_cast<ClosureDriven*>(optimizer.get())) {
      driven->forget_evaluations();
    }
    refuse_nonfinite(info);
  }
  clear_gradients();
  double outside = 0;
  clock.add_to(outside);
  seconds.update += outside - seconds.forward - seconds.backward;
}

}  // namespace gradwise
