#pragma once

#include "gradwise/optim/lr_scheduler.h"

/// Cosine annealing (Loshchilov, Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts"). Names, options
/// and values as in `torch.optim.lr_scheduler`.
namespace gradwise {

struct CosineAnnealingLrOptions {
  std::int64_t t_max = 0;  ///< to be given
  double eta_min = 0.0;
};

template <class Fields>
void describe(Fields& fields, CosineAnnealingLrOptions& o) {
  fields.add("t_max", o.t_max, "steps from the initial rate to the least", at_least(1));
  fields.add("eta_min", o.eta_min, "least rate", at_least(0));
}

/// Leads the rate to eta_min within t_max steps along half a cosine, and back again after that.
class CosineAnnealingLR final : public LRScheduler {
 public:
  CosineAnnealingLR(std::vector<Rate>& rates, CosineAnnealingLrOptions options);

 private:
  [[nodiscard]] double next_lr(std::size_t group) const override;
  [[nodiscard]] double restart_lr(std::size_t group) const override;

  CosineAnnealingLrOptions options_;
};

struct CosineAnnealingWarmRestartsOptions {
  std::int64_t t_0 = 0;  ///< to be given
  std::int64_t t_mult = 1;
  double eta_min = 0.0;
};

template <class Fields>
void describe(Fields& fields, CosineAnnealingWarmRestartsOptions& o) {
  fields.add("t_0", o.t_0, "steps until the first restart", at_least(1));
  fields.add("t_mult", o.t_mult, "factor of the period after each restart", at_least(1));
  fields.add("eta_min", o.eta_min, "least rate", at_least(0));
}

/// Leads the rate towards eta_min along half a cosine, and starts again from the initial rate after each period.
class CosineAnnealingWarmRestarts final : public LRScheduler {
 public:
  CosineAnnealingWarmRestarts(std::vector<Rate>& rates, CosineAnnealingWarmRestartsOptions options);

  [[nodiscard]] nlohmann::json state() const override;
  void load_state(const nlohmann::json& state) override;

 private:
  void advance(std::optional<double> metric) override;
  [[nodiscard]] double next_lr(std::size_t group) const override;

  CosineAnnealingWarmRestartsOptions options_;
  std::int64_t t_cur_ = -1;  // steps since the last restart
  std::int64_t t_i_ = 0;     // length of this period
};

}  // namespace gradwise
