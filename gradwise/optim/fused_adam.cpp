#include "gradwise/optim/fused_adam.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "gradwise/core/error.h"

namespace gradwise {

FusedAdam::FusedAdam(const std::vector<torch::optim::OptimizerParamGroup>& groups, const FusedAdamOptions& defaults)
    : Optimizer(groups, std::make_unique<FusedAdamOptions>(defaults)) {}

FusedAdamState& FusedAdam::state_of(const at::Tensor& parameter, bool amsgrad) {
  std::unique_ptr<torch::optim::OptimizerParamState>& slot = state()[parameter.unsafeGetTensorImpl()];
  if (!slot) {
    auto fresh = std::make_unique<FusedAdamState>();
    fresh->step = at::zeros({}, parameter.options().dtype(at::kFloat));
    fresh->exp_avg = at::zeros_like(parameter);
    fresh->exp_avg_sq = at::zeros_like(parameter);
    if (amsgrad) {
      fresh->max_exp_avg_sq = at::zeros_like(parameter);
    }
    slot = std::move(fresh);
  }
  return static_cast<FusedAdamState&>(*slot);
}

void FusedAdam::step_group(torch::optim::OptimizerParamGroup& group) {
  const auto& options = static_cast<const FusedAdamOptions&>(group.options());
  std::vector<at::Tensor> parameters, gradients, averages, squares, largest, steps;
  for (const at::Tensor& parameter : group.params()) {
    const at::Tensor& gradient = parameter.grad();
    if (!gradient.defined() || parameter.numel() == 0) {
      continue;
    }
    GRADWISE_CHECK(!gradient.is_sparse(), "optimizer",
                   "adam and adamw do not take sparse gradients, allowed: sgd, adagrad");
    FusedAdamState& state = state_of(parameter, options.amsgrad);
    parameters.push_back(parameter);
    gradients.push_back(gradient);
    averages.push_back(state.exp_avg);
    squares.push_back(state.exp_avg_sq);
    steps.push_back(state.step);
    if (options.amsgrad) {
      largest.push_back(state.max_exp_avg_sq);
    }
  }
  if (parameters.empty()) {
    return;
  }
  at::_foreach_add_(steps, 1);
  const auto update = options.decoupled ? &at::_ops::_fused_adamw_::call : &at::_ops::_fused_adam_::call;
  update(parameters, gradients, averages, squares, largest, steps, options.lr, options.beta1, options.beta2,
         options.weight_decay, options.eps, options.amsgrad, /*maximize=*/false, /*grad_scale=*/{}, /*found_inf=*/{});
}

torch::Tensor FusedAdam::step(LossClosure closure) {
  torch::Tensor loss;
  if (closure) {
    const at::AutoGradMode with_grad(true);
    loss = closure();
  }
  const at::NoGradGuard no_grad;
  for (torch::optim::OptimizerParamGroup& group : param_groups()) {
    step_group(group);
  }
  return loss;
}

}  // namespace gradwise
