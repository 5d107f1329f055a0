#pragma once

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>

#include "gradwise/kernels/fused_update.h"

namespace gradwise {

using kernels::UpdateRule;

/// Options of one parameter group of a FusedOptimizer; a rule passes over those that it does not have.
struct FusedOptions : torch::optim::OptimizerOptions {
  UpdateRule rule = UpdateRule::adam;
  double lr = 1e-3;
  double weight_decay = 0;
  bool decoupled = false;  ///< weight decay by itself (AdamW, Lion), not as an L2 penalty
  bool maximize = false;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  bool amsgrad = false;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
  double alpha = 0.99;
  bool centered = false;
  double lr_decay = 0;
  double initial_accumulator = 0;
  bool bfloat16_state = false;
  bool stochastic_rounding = false;
  std::uint32_t rounding_seed = 0;
  bool parity = false;

  [[nodiscard]] std::unique_ptr<torch::optim::OptimizerOptions> clone() const override {
    return std::make_unique<FusedOptions>(*this);
  }
  [[nodiscard]] double get_lr() const override { return lr; }
  void set_lr(double value) override { lr = value; }
};

/// What an optimizer remembers of a parameter. A line that the rule or its options have no use for is undefined; each
/// has the parameter's shape and strides. torch's names for them are in param_state_members.h.
struct FusedState : torch::optim::OptimizerParamState {
  explicit FusedState(UpdateRule r) : rule(r) {}
  UpdateRule rule;
  std::int64_t step = 0;
  at::Tensor first;
  at::Tensor second;
  at::Tensor third;

  [[nodiscard]] std::unique_ptr<torch::optim::OptimizerParamState> clone() const override {
    return std::make_unique<FusedState>(*this);
  }
};

/// Which lines a rule has under these options.
struct StateLines {
  bool first;
  bool second;
  bool third;
  bool operator==(const StateLines&) const = default;
};
[[nodiscard]] StateLines state_lines(const FusedOptions& options);

/// Coefficients of a parameter's step number `step`, from 1, as torch.optim computes them.
[[nodiscard]] kernels::UpdateCoefficients coefficients_of(const FusedOptions& options, std::int64_t step);

}  // namespace gradwise
