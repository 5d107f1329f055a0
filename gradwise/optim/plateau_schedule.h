#pragma once

#include <string>

#include "gradwise/core/fields.h"
#include "gradwise/optim/scheduler.h"

namespace gradwise {

/// Names and defaults as in `torch.optim.lr_scheduler.ReduceLROnPlateau`.
struct ReduceLrOnPlateauOptions {
  std::string mode = "min";
  double factor = 0.1;
  std::int64_t patience = 10;
  double threshold = 1e-4;
  std::string threshold_mode = "rel";
  std::int64_t cooldown = 0;
  std::vector<double> min_lr = {0};  ///< one for all parameter groups, or one for each
  double eps = 1e-8;
};

template <class Fields>
void describe(Fields& fields, ReduceLrOnPlateauOptions& o) {
  fields.add("mode", o.mode, "whether a low or a high metric is good", one_of({"min", "max"}));
  fields.add("factor", o.factor, "factor of the rate at a plateau", from_below(0, 1));
  fields.add("patience", o.patience, "steps without a better metric that are let pass", at_least(0));
  fields.add("threshold", o.threshold, "by how much the metric must be better to count", at_least(0));
  fields.add("threshold_mode", o.threshold_mode, "whether threshold is a part of the best metric or a difference",
             one_of({"rel", "abs"}));
  fields.add("cooldown", o.cooldown, "steps after a fall of the rate that don't count", at_least(0));
  fields.add("min_lr", o.min_lr, "least rate", at_least(0));
  fields.add("eps", o.eps, "least fall of a rate; a smaller one is left out", at_least(0));
}

/// Multiplies the rate by factor once the metric has not got better for more than patience steps.
class ReduceLROnPlateau final : public Scheduler {
 public:
  explicit ReduceLROnPlateau(std::vector<Rate>& rates, ReduceLrOnPlateauOptions options = {});

  [[nodiscard]] bool wants_metric() const override { return true; }
  [[nodiscard]] nlohmann::json state() const override;
  void load_state(const nlohmann::json& state) override;

 private:
  void advance(std::optional<double> metric) override;
  [[nodiscard]] bool is_better(double metric) const;
  void reduce();

  ReduceLrOnPlateauOptions options_;
  std::vector<double> min_lrs_;  // one per group
  double best_ = 0;
  std::int64_t last_epoch_ = 0;
  std::int64_t bad_epochs_ = 0;
  std::int64_t cooldown_counter_ = 0;
};

}  // namespace gradwise
