#include "gradwise/optim/cosine_schedules.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "gradwise/optim/schedule_state.h"

namespace gradwise {

using std::numbers::pi;

CosineAnnealingLR::CosineAnnealingLR(std::vector<Rate>& rates, CosineAnnealingLrOptions options)
    : LRScheduler(rates), options_(checked("cosine_annealing_lr", options)) {
  begin();
}

double CosineAnnealingLR::next_lr(std::size_t group) const {
  const double lr = rates()[group].lr;
  const double eta_min = options_.eta_min;
  const double t_max = static_cast<double>(options_.t_max);
  if (is_initial_) {
    return lr;
  }
  if ((last_epoch_ - 1 - options_.t_max) % (2 * options_.t_max) == 0) {
    // One step after the least rate, where the quotient below would divide by zero.
    return lr + (base_lrs_[group] - eta_min) * (1 - std::cos(pi / t_max)) / 2;
  }
  const double now = 1 + std::cos(pi * static_cast<double>(last_epoch_) / t_max);
  const double before = 1 + std::cos(pi * static_cast<double>(last_epoch_ - 1) / t_max);
  return now / before * (lr - eta_min) + eta_min;
}

double CosineAnnealingLR::restart_lr(std::size_t group) const {
  // Not simply the initial rate: adding eta_min to the difference may round.
  return options_.eta_min + (base_lrs_[group] - options_.eta_min);
}

CosineAnnealingWarmRestarts::CosineAnnealingWarmRestarts(std::vector<Rate>& rates,
                                                         CosineAnnealingWarmRestartsOptions options)
    : LRScheduler(rates), options_(checked("cosine_annealing_warm_restarts", options)), t_i_(options_.t_0) {
  begin();
}

void CosineAnnealingWarmRestarts::advance(std::optional<double> metric) {
  if (last_epoch_ < 0) {
    last_epoch_ = -1;
    t_cur_ = 0;
    t_i_ = options_.t_0;
  } else if (++t_cur_ >= t_i_) {
    t_cur_ %= t_i_;
    t_i_ *= options_.t_mult;
  }
  LRScheduler::advance(metric);
}

double CosineAnnealingWarmRestarts::next_lr(std::size_t group) const {
  const double eta_min = options_.eta_min;
  const double angle = pi * static_cast<double>(t_cur_) / static_cast<double>(t_i_);
  return eta_min + (base_lrs_[group] - eta_min) * (1 + std::cos(angle)) / 2;
}

nlohmann::json CosineAnnealingWarmRestarts::state() const {
  nlohmann::json state = LRScheduler::state();
  state["T_cur"] = t_cur_;
  state["T_i"] = t_i_;
  return state;
}

void CosineAnnealingWarmRestarts::load_state(const nlohmann::json& state) {
  const std::int64_t t_cur = detail::read_integer(state, "T_cur");
  const std::int64_t t_i = detail::read_integer(state, "T_i");
  LRScheduler::load_state(state);
  t_cur_ = t_cur;
  t_i_ = t_i;
}

}  // namespace gradwise
