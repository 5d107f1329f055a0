#pragma once

#include <functional>

#include "gradwise/optim/lr_scheduler.h"

/// Schedules that multiply the rate at certain steps. Names, options and values as in `torch.optim.lr_scheduler`.
namespace gradwise {

struct StepLrOptions {
  std::int64_t step_size = 0;  ///< to be given
  double gamma = 0.1;
};

template <class Fields>
void describe(Fields& fields, StepLrOptions& o) {
  fields.add("step_size", o.step_size, "steps from one fall of the rate to the next", at_least(1));
  fields.add("gamma", o.gamma, "factor at each fall", at_least(0));
}

/// Multiplies the rate by gamma every step_size steps.
class StepLR final : public LRScheduler {
 public:
  StepLR(std::vector<Rate>& rates, StepLrOptions options);

 private:
  [[nodiscard]] double next_lr(std::size_t group) const override;
  [[nodiscard]] double restart_lr(std::size_t group) const override { return base_lrs_[group]; }

  StepLrOptions options_;
};

struct MultiStepLrOptions {
  std::vector<std::int64_t> milestones = {};  ///< to be given; in any order, one that stands n times counts n times
  double gamma = 0.1;
};

template <class Fields>
void describe(Fields& fields, MultiStepLrOptions& o) {
  fields.add("milestones", o.milestones, "steps at which the rate falls", at_least(0));
  fields.add("gamma", o.gamma, "factor at each milestone", at_least(0));
}

/// Multiplies the rate by gamma at each milestone.
class MultiStepLR final : public LRScheduler {
 public:
  MultiStepLR(std::vector<Rate>& rates, MultiStepLrOptions options);

 private:
  [[nodiscard]] double next_lr(std::size_t group) const override;
  [[nodiscard]] double restart_lr(std::size_t group) const override;

  MultiStepLrOptions options_;  // milestones sorted
};

struct ExponentialLrOptions {
  double gamma = 0;  ///< to be given
};

template <class Fields>
void describe(Fields& fields, ExponentialLrOptions& o) {
  fields.add("gamma", o.gamma, "factor at each step", positive());
}

/// Multiplies the rate by gamma at each step.
class ExponentialLR final : public LRScheduler {
 public:
  ExponentialLR(std::vector<Rate>& rates, ExponentialLrOptions options);

 private:
  [[nodiscard]] double next_lr(std::size_t group) const override;
  [[nodiscard]] double restart_lr(std::size_t group) const override { return base_lrs_[group]; }

  ExponentialLrOptions options_;
};

struct ConstantLrOptions {
  double factor = 1.0 / 3;
  std::int64_t total_iters = 5;
};

template <class Fields>
void describe(Fields& fields, ConstantLrOptions& o) {
  // torch lets 0 pass and divides by it at step total_iters.
  fields.add("factor", o.factor, "factor of the rate until step total_iters", above_zero_to_one());
  fields.add("total_iters", o.total_iters, "step at which the rate is itself again", at_least(0));
}

/// Multiplies the rate by a factor for the first total_iters steps.
class ConstantLR final : public LRScheduler {
 public:
  explicit ConstantLR(std::vector<Rate>& rates, ConstantLrOptions options = {});

 private:
  [[nodiscard]] double next_lr(std::size_t group) const override;
  [[nodiscard]] double restart_lr(std::size_t group) const override;

  ConstantLrOptions options_;
};

/// Maps the step (from 0) to a factor.
using LrLambda = std::function<double(std::int64_t)>;

struct LambdaLrOptions {
  std::vector<LrLambda> lr_lambda = {};  ///< one for all parameter groups, or one for each
};

/// Sets the rate to the initial rate times lr_lambda(step).
class LambdaLR final : public LRScheduler {
 public:
  LambdaLR(std::vector<Rate>& rates, LambdaLrOptions options);

 private:
  [[nodiscard]] double next_lr(std::size_t group) const override;

  std::vector<LrLambda> lambdas_;
};

/// Multiplies the rate by lr_lambda(step) at each step but the first.
class MultiplicativeLR final : public LRScheduler {
 public:
  MultiplicativeLR(std::vector<Rate>& rates, LambdaLrOptions options);

 private:
  [[nodiscard]] double next_lr(std::size_t group) const override;

  std::vector<LrLambda> lambdas_;
};

}  // namespace gradwise
