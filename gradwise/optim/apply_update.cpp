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

bool holds_nonfinite(const at::Tensor& tensor) {
  const at::Tensor values = tensor.is_sparse() ? tensor._values() : tensor;
  return !values.isfinite().all().item<bool>();
}

}  // namespace

// A norm can overflow though every element is finite; only then are the elements looked at.
bool AutogradOptimizer::Impl::gradients_finite(StepInfo& info, bool unscaled_finite, double scale) {
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
  info.grad_norm = scale * global_norm(wide).item<double>();
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

double AutogradOptimizer::Impl::clip(double norm, const std::optional<ClipRequest>& request, bool& clipped,
                                     double& scale) {
  const ClipOptions& how = options.clip;
  const bool wanted = request ? request->clip_gradients : how.method != "none";
  if (gradients.empty() || !wanted) {
    return norm;
  }
  if (how.method == "norm" || how.method == "none") {
    const double max_norm = request ? request->max_grad_norm : how.max_norm;
    GRADWISE_CHECK(max_norm > 0, "clip", "max_grad_norm is ", max_norm, ", allowed: > 0");
    const double coefficient = clip_coefficient(norm, max_norm);
    clipped = coefficient < 1;
    if (clipped && scales_in_update()) {
      scale *= coefficient;
    } else if (clipped) {
      clip_by_norm(gradients, norm, max_norm);
    }
    return clipped ? norm * coefficient : norm;
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

// What the gradients still have to be multiplied by goes into `scale` where the update takes it along. Returns whether
// they are finite, as far as it has looked.
bool AutogradOptimizer::Impl::unscale(double& scale) {
  const double missing_share = shortfall();
  if (scales_in_update()) {
    scale = missing_share / (scaling() ? scaler.get_scale() : 1.0);
    return true;
  }
  const bool finite = !scaling() || scaler.unscale(gradients);
  if (missing_share != 1.0 && !gradients.empty()) {
    const at::NoGradGuard no_grad;
    at::_foreach_mul_(gradients, missing_share);
  }
  return finite;
}

void AutogradOptimizer::Impl::read_norm(StepInfo& info, double scale, double given) {
  if (!scales_in_update() || !GradientPass::reads(gradients)) {
    read_window(info, global_norm(gradients));
    info.grad_norm *= scale;
  } else {
    read_window(info, scale * (std::isfinite(given) ? given : gradient_pass.norm(gradients)));
  }
}

void AutogradOptimizer::Impl::update_by_gradients(StepInfo& info, const std::optional<ClipRequest>& request,
                                                  double given_norm) {
  PhaseClock clock;
  collect_gradients();
  note_missing_gradients(info);
  double scale = 1;
  const bool unscaled_finite = unscale(scale);
  read_norm(info, scale, given_norm);
  info.loss_scale = scaling() ? scaler.get_scale() : 1.0;
  const bool finite = gradients_finite(info, unscaled_finite, scale);
  if (scaling() && scales_in_update()) {
    scaler.note_unscaled(finite);
  }
  if (!finite && refuses_nonfinite()) {
    refuse_nonfinite(info);
  } else {
    info.grad_norm_clipped = clip(info.grad_norm, request, info.clipped, scale);
  }
  clock.add_to(seconds.clip);
  if (!info.skipped) {
    apply(info, scale);
  } else if (fused != nullptr) {
    fused->measure_standing();
  }
  take_moments(info);
  if (scaling()) {
    scaler.update();
  }
  clear_gradients();
  clock.add_to(seconds.update);
}

// The update, its average and what is measured of it.
void AutogradOptimizer::Impl::apply(StepInfo& info, double scale) {
  const bool by_copy = measures_weights(info) && (fused == nullptr || !fused->measures());
  if (by_copy) {
    weight_statistics.before_update(trainable.tensors);
  }
  if (average != nullptr && average->moves() != average_moves) {
    take_averages();
  }
  if (fused != nullptr) {
    const bool along = average != nullptr && !fused_averages.empty();
    const double share = along ? average->begin_update() : 0;
    fused->update(
        {scale, share != 0 ? std::span<const at::Tensor>(fused_averages) : std::span<const at::Tensor>(), share});
    if (along) {
      average->finish_update();
    } else if (average != nullptr) {
      average->update();
    }
  } else {
    optimizer->step();
    if (average != nullptr) {
      average->update();
    }
  }
  if (by_copy) {
    weight_statistics.after_update(trainable.tensors, info);
  }
}

void AutogradOptimizer::Impl::take_moments(StepInfo& info) {
  if (fused == nullptr || !fused->measures()) {
    moments.clear();
    return;
  }
  moments.resize(holds_all ? model.parameters.size() : 0);
  const std::span<const WeightMoments> found = fused->weight_moments();
  WeightMoments all;
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (holds_all) {
      moments[fused_order[i]] = found[i];
    }
    all.merge(found[i]);
  }
  if (measures_weights(info) && !info.skipped) {
    put_update(all, info);
  }
}

// The averages as the optimizer's pass takes them; none where they are of other tensors, types or devices.
void AutogradOptimizer::Impl::take_averages() {
  fused_averages.clear();
  if (average == nullptr || fused == nullptr) {
    return;
  }
  average_moves = average->moves();
  fused_averages = fused->averages_by_place(average->averaged_parameters(), average->parameter_averages());
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

StepInfo AutogradOptimizer::Impl::finish(const std::optional<ClipRequest>& request, double given_norm) {
  GRADWISE_CHECK(micro_batches > 0, "optimizer", "finish_step was called before any accumulate");
  refuse_in_backward(request);
  StepInfo info;
  info.step = steps + 1;
  info.lr = optimizer->param_groups().front().options().get_lr();
  try {
    if (closure_driven) {
      update_by_closure(info);
    } else if (in_backward) {
      note_update_in_backward(info);
    } else {
      update_by_gradients(info, request, given_norm);
    }
  } catch (...) {
    drop_window();
    throw;
  }
  end_window(info);
  return info;
}

}  // namespace gradwise
