#include "gradwise/optim/plateau_schedule.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "gradwise/optim/schedule_state.h"

namespace gradwise {

ReduceLROnPlateau::ReduceLROnPlateau(std::vector<Rate>& rates, ReduceLrOnPlateauOptions options)
    : Scheduler(rates), options_(std::move(options)) {
  check_fields("reduce_lr_on_plateau", options_);
  min_lrs_ = per_group("reduce_lr_on_plateau", "min_lr", options_.min_lr, rates.size());
  const double infinity = std::numeric_limits<double>::infinity();
  best_ = options_.mode == "min" ? infinity : -infinity;
}

void ReduceLROnPlateau::advance(std::optional<double> metric) {
  GRADWISE_CHECK(metric.has_value(), "reduce_lr_on_plateau", "step() got no metric: hand in the monitored one");
  ++last_epoch_;
  if (is_better(*metric)) {
    best_ = *metric;
    bad_epochs_ = 0;
  } else {
    ++bad_epochs_;
  }
  if (cooldown_counter_ > 0) {
    --cooldown_counter_;
    bad_epochs_ = 0;
  }
  if (bad_epochs_ > options_.patience) {
    reduce();
    cooldown_counter_ = options_.cooldown;
    bad_epochs_ = 0;
  }
}

bool ReduceLROnPlateau::is_better(double metric) const {
  const bool relative = options_.threshold_mode == "rel";
  if (options_.mode == "min") {
    return metric < (relative ? best_ * (1.0 - options_.threshold) : best_ - options_.threshold);
  }
  return metric > (relative ? best_ * (options_.threshold + 1.0) : best_ + options_.threshold);
}

void ReduceLROnPlateau::reduce() {
  GRADWISE_CHECK(rates().size() == min_lrs_.size(), "reduce_lr_on_plateau", "there are ", rates().size(),
                 " parameter groups, the scheduler was made for ", min_lrs_.size());
  for (std::size_t i = 0; i < min_lrs_.size(); ++i) {
    const double old_lr = rates()[i].lr;
    const double new_lr = std::max(old_lr * options_.factor, min_lrs_[i]);
    if (old_lr - new_lr > options_.eps) {
      rates()[i].lr = new_lr;
    }
  }
}

nlohmann::json ReduceLROnPlateau::state() const {
  nlohmann::json state = Scheduler::state();
  state["last_epoch"] = last_epoch_;
  state["best"] = detail::write_number(best_);
  state["num_bad_epochs"] = bad_epochs_;
  state["cooldown_counter"] = cooldown_counter_;
  return state;
}

void ReduceLROnPlateau::load_state(const nlohmann::json& state) {
  const std::int64_t last_epoch = detail::read_integer(state, "last_epoch");
  const double best = detail::read_number(state, "best");
  const std::int64_t bad_epochs = detail::read_integer(state, "num_bad_epochs");
  const std::int64_t cooldown_counter = detail::read_integer(state, "cooldown_counter");
  Scheduler::load_state(state);
  last_epoch_ = last_epoch;
  best_ = best;
  bad_epochs_ = bad_epochs;
  cooldown_counter_ = cooldown_counter;
}

}  // namespace gradwise
