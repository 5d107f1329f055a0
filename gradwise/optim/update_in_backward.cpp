#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_copy.h>

#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/optim/autograd_optimizer_impl.h"

namespace gradwise {

void AutogradOptimizer::Impl::prepare_in_backward() {
  GRADWISE_CHECK(fused != nullptr, "optimizer",
                 "in_backward needs an optimizer of Gradwise's own: implementation = \"gradwise\", any name but lbfgs");
  GRADWISE_CHECK(!scaling(), "optimizer", "in_backward does not go with loss scaling, precision is \"",
                 options.precision, "\", allowed: float32, bfloat16");
  GRADWISE_CHECK(options.on_nonfinite == "skip", "optimizer", "on_nonfinite is \"", options.on_nonfinite,
                 "\", allowed with in_backward: skip");
  GRADWISE_CHECK(options.clip.method == "norm" || options.clip.method == "none", "optimizer", "clip.method is \"",
                 options.clip.method, "\", allowed with in_backward: norm, none");
  BackwardUpdateOptions how;
  how.clip = options.clip.method == "norm" ? BackwardClip::running_norm : BackwardClip::none;
  how.max_norm = options.clip.max_norm;
  in_backward = std::make_unique<BackwardUpdate>(*fused, trainable, how);
}

void AutogradOptimizer::Impl::refuse_in_backward(const std::optional<ClipRequest>& request) const {
  GRADWISE_CHECK(!in_backward || !request, "optimizer",
                 "a step can't be clipped in its own way with in_backward; set clip in the options");
}

void AutogradOptimizer::Impl::note_update_in_backward(StepInfo& info) {
  PhaseClock clock;
  StepInfo done = in_backward->finish_step();
  missing = in_backward->without_gradient();
  note_missing_gradients(info);
  read_window(info, done.grad_norm);
  info.grad_norm_clipped = done.grad_norm_clipped;
  info.clipped = done.clipped;
  info.skipped = done.skipped;
  info.loss_scale = 1;
  if (!done.issues.empty() && !guarded_buffers.empty()) {
    const at::NoGradGuard no_grad;
    at::_foreach_copy_(guarded_buffers, buffer_copies);
  }
  for (Issue& issue : done.issues) {
    issue.step = info.step;
    info.issues.push_back(std::move(issue));
  }
  if (average != nullptr && !info.skipped) {
    average->update();
  }
  take_moments(info);
  clock.add_to(seconds.update);
}

}  // namespace gradwise
