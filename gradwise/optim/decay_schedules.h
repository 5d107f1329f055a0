#pragma once

#include "gradwise/optim/lr_scheduler.h"

/// Schedules that lead the rate along a line or a power of one. Names, options and values as in
/// `torch.optim.lr_scheduler`.
namespace gradwise {

struct LinearLrOptions {
  double start_factor = 1.0 / 3;
  double end_factor = 1.0;
  std::int64_t total_iters = 5;
};

template <class Fields>
void describe(Fields& fields, LinearLrOptions& o) {
  fields.add("start_factor", o.start_factor, "factor of the rate at step 0", above_zero_to_one());
  fields.add("end_factor", o.end_factor, "factor of the rate from step total_iters on", between(0, 1));
  fields.add("total_iters", o.total_iters, "steps from the one to the other", at_least(1));
}

/// Leads the rate from start_factor to end_factor times the initial rate within total_iters steps.
class LinearLR final : public LRScheduler {
 public:
  explicit LinearLR(std::vector<Rate>& rates, LinearLrOptions options = {});

 private:
  [[nodiscard]] double next_lr(std::size_t group) const override;
  [[nodiscard]] double restart_lr(std::size_t group) const override { return base_lrs_[group] * options_.start_factor; }

  LinearLrOptions options_;
};

struct PolynomialLrOptions {
  std::int64_t total_iters = 5;
  double power = 1.0;
};

template <class Fields>
void describe(Fields& fields, PolynomialLrOptions& o) {
  fields.add("total_iters", o.total_iters, "steps until the rate is 0", at_least(1));
  fields.add("power", o.power, "power of the part that is left", at_least(0));
}

/// Sets the rate to initial rate * (1 - step / total_iters)^power, and to 0 from step total_iters on.
class PolynomialLR final : public LRScheduler {
 public:
  explicit PolynomialLR(std::vector<Rate>& rates, PolynomialLrOptions options = {});

 private:
  [[nodiscard]] double next_lr(std::size_t group) const override;
  [[nodiscard]] double restart_lr(std::size_t group) const override { return base_lrs_[group]; }

  PolynomialLrOptions options_;
};

}  // namespace gradwise
