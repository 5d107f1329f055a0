#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_mul.h>

#include <cmath>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/optim/autograd_optimizer_impl.h"
#include "gradwise/optim/scalar_readings.h"

namespace gradwise {
namespace {

// Thrown through LBFGS's line search when an evaluation is not finite.
struct NonfiniteEvaluation {};

bool holds_nonfinite(const at::Tensor& tensor) {
  const at::Tensor values = tensor.is_sparse() ? tensor._values() : tensor;
  return !values.isfinite().all().item<bool>();
}

}  // namespace

// A norm can overflow though every element is finite; only then are the elements looked at.
bool AutogradOptimizer::Impl::gradients_finite(StepInfo& info, bool unscaled_finite) {
  if (unscaled_finite && std::isfinite(info.grad_norm)) {
    return true;
  }
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    if (holds_nonfinite(gradients[i])) {
      Issue issue;
      issue.rule = "nonfinite_gradient";
      issue.severity = scaling() ? Issue::Severity::info : Issue::Severity::error;
      issue.layer = trainable.names[with_gradient_index[i]];
      issue.step = info.step;
      issue.value = info.grad_norm;
      issue.message = "the gradient of \"" + issue.layer + "\" holds inf or NaN";
      issue.advice = scaling() ? "the loss scale backs off; nothing to do unless it goes on"
                               : "lower the learning rate, clip gradients, or look for a bad input";
      info.issues.push_back(std::move(issue));
      return false;
    }
  }
  std::vector<at::Tensor> wide;
  for (const at::Tensor& gradient : gradients) {
    wide.push_back(gradient.to(at::kDouble));
  }
  info.grad_norm = global_norm(wide).item<double>();
  return true;
}

// While the loss is scaled, an overflow is how the scaler finds its scale; at a scale of 1 it is the gradients' own.
void AutogradOptimizer::Impl::refuse_nonfinite(StepInfo& info) {
  if (!guarded_buffers.empty()) {
    const at::NoGradGuard no_grad;
    at::_foreach_copy_(guarded_buffers, buffer_copies);
  }
  if (options.on_nonfinite == "raise" && (!scaling() || info.loss_scale <= 1)) {
    const Issue found = info.issues.back();
    end_window(info);
    fail("optimizer", found.message, " in step ", info.step, "; loss is ", info.loss, "; ", found.advice);
  }
  info.skipped = true;
  info.grad_norm_clipped = info.grad_norm;
}

double AutogradOptimizer::Impl::clip(double norm, const std::optional<ClipRequest>& request, bool& clipped) {
  const ClipOptions& how = options.clip;
  const bool wanted = request ? request->clip_gradients : how.method != "none";
  if (gradients.empty() || !wanted) {
    return norm;
  }
  if (how.method == "norm" || how.method == "none") {
    const double max_norm = request ? request->max_grad_norm : how.max_norm;
    GRADWISE_CHECK(max_norm > 0, "clip", "max_grad_norm is ", max_norm, ", allowed: > 0");
    clipped = clip_by_norm(gradients, norm, max_norm);
    return clipped ? norm * (max_norm / (norm + 1e-6)) : norm;
  }
  if (how.method == "value") {
    clip_by_value(gradients, how.max_value);
  } else {
    clip_adaptively(with_gradient, gradients, how.agc_lambda, how.agc_eps);
  }
  const double after = read_scalars({global_norm(gradients)}).front();
  clipped = after < norm;
  return after;
}

void AutogradOptimizer::Impl::update_by_gradients(StepInfo& info, const std::optional<ClipRequest>& request) {
  PhaseClock clock;
  collect_gradients();
  note_missing_gradients(info);
  const bool unscaled_finite = !scaling() || scaler.unscale(gradients);
  if (const double missing_share = shortfall(); missing_share != 1.0 && !gradients.empty()) {
    const at::NoGradGuard no_grad;
    at::_foreach_mul_(gradients, missing_share);
  }
  read_window(info, global_norm(gradients));
  info.loss_scale = scaling() ? scaler.get_scale() : 1.0;
  const bool finite = gradients_finite(info, unscaled_finite);
  if (!finite && refuses_nonfinite()) {
    refuse_nonfinite(info);
  } else {
    info.grad_norm_clipped = clip(info.grad_norm, request, info.clipped);
  }
  clock.add_to(seconds.clip);
  if (!info.skipped) {
    const bool measure = measures_weights(info);
    if (measure) {
      weight_statistics.before_update(trainable.tensors);
    }
    optimizer->step();
    if (measure) {
      weight_statistics.after_update(trainable.tensors, info);
    }
  }
  if (scaling()) {
    scaler.update();
  }
  clear_gradients();
  clock.add_to(seconds.update);
}

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
  } catch (const NonfiniteEvaluation&) {
    const at::NoGradGuard no_grad;
    at::_foreach_copy_(trainable.tensors, parameters_before);
    optimizer->state().clear();  // its history may hold the bad evaluation
    refuse_nonfinite(info);
  }
  clear_gradients();
  double outside = 0;
  clock.add_to(outside);
  seconds.update += outside - seconds.forward - seconds.backward;
}

void AutogradOptimizer::Impl::end_window(StepInfo& info) {
  ++steps;
  skipped += info.skipped ? 1 : 0;
  info.skipped_in_all = skipped;
  info.samples = samples;
  info.micro_batches = micro_batches;
  seconds.total = seconds.forward + seconds.backward + seconds.clip + seconds.update;
  info.seconds = seconds;
  drop_window();
}

void AutogradOptimizer::Impl::drop_window() {
  clear_gradients();
  scaler.drop_unscaled();
  micro_batches = samples = 0;
  losses.clear();
  loss_samples.clear();
  kept.clear();
  seconds = {};
}

StepInfo AutogradOptimizer::Impl::finish(const std::optional<ClipRequest>& request) {
  GRADWISE_CHECK(micro_batches > 0, "optimizer", "finish_step was called before any accumulate");
  StepInfo info;
  info.step = steps + 1;
  info.lr = optimizer->param_groups().front().options().get_lr();
  try {
    if (closure_driven) {
      update_by_closure(info);
    } else {
      update_by_gradients(info, request);
    }
  } catch (...) {
    drop_window();
    throw;
  }
  end_window(info);
  return info;
}

}  // namespace gradwise
