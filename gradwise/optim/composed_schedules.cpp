#include "gradwise/optim/composed_schedules.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "gradwise/optim/schedule_state.h"

namespace gradwise {

ComposedScheduler::ComposedScheduler(const char* place, std::vector<Rate>& rates, SchedulerList schedulers)
    : ChainableScheduler(rates), schedulers_(std::move(schedulers)) {
  GRADWISE_CHECK(!schedulers_.empty(), place, "the list of schedulers is empty, allowed: one or more");
  for (std::size_t i = 0; i < schedulers_.size(); ++i) {
    GRADWISE_CHECK(schedulers_[i] != nullptr, place, "scheduler ", i, " is null");
    GRADWISE_CHECK(&schedulers_[i]->rates() == &rates, place, "scheduler ", i, " works on other rates");
  }
}

void ComposedScheduler::rewind() {
  for (const auto& scheduler : schedulers_) {
    scheduler->rewind();
  }
}

nlohmann::json ComposedScheduler::state() const {
  nlohmann::json state = Scheduler::state();
  nlohmann::json parts = nlohmann::json::array();
  for (const auto& scheduler : schedulers_) {
    parts.push_back(scheduler->state());
  }
  state["_schedulers"] = std::move(parts);
  return state;
}

void ComposedScheduler::load_state(const nlohmann::json& state) {
  const nlohmann::json& parts = detail::read_entry(state, "_schedulers");
  if (!parts.is_array() || parts.size() != schedulers_.size()) {
    fail("scheduler", "the saved state has ", parts.size(), " parts, the scheduler ", schedulers_.size());
  }
  for (std::size_t i = 0; i < schedulers_.size(); ++i) {
    schedulers_[i]->load_state(parts[i]);
  }
  Scheduler::load_state(state);
}

ChainedScheduler::ChainedScheduler(std::vector<Rate>& rates, SchedulerList schedulers)
    : ComposedScheduler("chained_scheduler", rates, std::move(schedulers)) {}

void ChainedScheduler::advance(std::optional<double> /*metric*/) {
  for (const auto& scheduler : schedulers_) {
    scheduler->step();
  }
}

SequentialLR::SequentialLR(std::vector<Rate>& rates, SchedulerList schedulers, std::vector<std::int64_t> milestones)
    : ComposedScheduler("sequential_lr", rates, std::move(schedulers)), milestones_(std::move(milestones)) {
  check_parts();
  for (Rate& rate : rates) {
    rate.lr = rate.initial_lr;
  }
  rewind();
  schedulers_[active()]->begin();
}

void SequentialLR::check_parts() const {
  GRADWISE_CHECK(milestones_.size() + 1 == schedulers_.size(), "sequential_lr", "milestones has ", milestones_.size(),
                 " steps for ", schedulers_.size(), " schedulers, allowed: one less than schedulers");
  GRADWISE_CHECK(std::ranges::is_sorted(milestones_) && (milestones_.empty() || milestones_.front() >= 0),
                 "sequential_lr", "milestones fall or are negative, allowed: steps >= 0 in rising order");
  for (std::size_t i = 1; i < schedulers_.size(); ++i) {
    GRADWISE_CHECK(dynamic_cast<const LRScheduler*>(schedulers_[i].get()) != nullptr, "sequential_lr", "scheduler ", i,
                   " is made of others, allowed: as the first one only");
  }
}

std::size_t SequentialLR::active() const {
  return static_cast<std::size_t>(std::ranges::upper_bound(milestones_, last_epoch_) - milestones_.begin());
}

void SequentialLR::advance(std::optional<double> /*metric*/) {
  ++last_epoch_;
  const std::size_t turn = active();
  if (turn > 0 && milestones_[turn - 1] == last_epoch_) {
    static_cast<LRScheduler&>(*schedulers_[turn]).restart();
  } else {
    schedulers_[turn]->step();
  }
}

nlohmann::json SequentialLR::state() const {
  nlohmann::json state = ComposedScheduler::state();
  state["last_epoch"] = last_epoch_;
  return state;
}

void SequentialLR::load_state(const nlohmann::json& state) {
  const std::int64_t last_epoch = detail::read_integer(state, "last_epoch");
  ComposedScheduler::load_state(state);
  last_epoch_ = last_epoch;
}

}  // namespace gradwise
