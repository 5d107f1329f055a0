#include "gradwise/optim/lr_scheduler.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "gradwise/optim/schedule_state.h"

namespace gradwise {

LRScheduler::LRScheduler(std::vector<Rate>& rates) : ChainableScheduler(rates) {
  for (Rate& rate : rates) {
    if (std::isnan(rate.initial_lr)) {
      rate.initial_lr = rate.lr;
    }
    base_lrs_.push_back(rate.initial_lr);
  }
}

void LRScheduler::begin() {
  is_initial_ = true;
  advance(std::nullopt);
  is_initial_ = false;
}

void LRScheduler::restart() {
  last_epoch_ = 0;
  update(true);
}

void LRScheduler::advance(std::optional<double> /*metric*/) {
  ++last_epoch_;
  update(false);
}

void LRScheduler::update(bool restarting) {
  GRADWISE_CHECK(rates().size() == base_lrs_.size(), "scheduler", "there are ", rates().size(),
                 " parameter groups, the scheduler was made for ", base_lrs_.size());
  for (std::size_t group = 0; group < base_lrs_.size(); ++group) {
    const double lr = restarting ? restart_lr(group) : next_lr(group);
    const double momentum = next_momentum(group);
    rates()[group].lr = lr;
    rates()[group].momentum = momentum;
  }
}

nlohmann::json LRScheduler::state() const {
  nlohmann::json state = Scheduler::state();
  state["last_epoch"] = last_epoch_;
  state["base_lrs"] = detail::write_numbers(base_lrs_);
  return state;
}

void LRScheduler::load_state(const nlohmann::json& state) {
  const std::int64_t last_epoch = detail::read_integer(state, "last_epoch");
  std::vector<double> base_lrs = detail::read_numbers(state, "base_lrs", base_lrs_.size());
  Scheduler::load_state(state);
  last_epoch_ = last_epoch;
  base_lrs_ = std::move(base_lrs);
}

}  // namespace gradwise
