#include "gradwise/optim/cycle_schedules.h"

#include <cmath>
#include <numbers>
#include <utility>

namespace gradwise {
namespace {

void check_momentum(const char* place, const std::vector<Rate>& rates) {
  for (const Rate& rate : rates) {
    GRADWISE_CHECK(!std::isnan(rate.momentum), place,
                   "cycle_momentum is true, but the optimizer has neither momentum nor beta1, allowed: false");
  }
}

// As in torch, the rates stand at their lowest before the base class takes its note of the initial ones.
std::vector<Rate>& start_low(std::vector<Rate>& rates, const CyclicLrOptions& options) {
  check_fields("cyclic_lr", options);
  const std::vector<double> base_lrs = per_group("cyclic_lr", "base_lr", options.base_lr, rates.size());
  const std::vector<double> momenta = per_group("cyclic_lr", "max_momentum", options.max_momentum, rates.size());
  if (options.cycle_momentum) {
    check_momentum("cyclic_lr", rates);
  }
  for (std::size_t i = 0; i < rates.size(); ++i) {
    rates[i].lr = base_lrs[i];
    rates[i].momentum = options.cycle_momentum ? momenta[i] : rates[i].momentum;
  }
  return rates;
}

}  // namespace

OneCycleLR::OneCycleLR(std::vector<Rate>& rates, OneCycleLrOptions options)
    : LRScheduler(rates), options_(checked("one_cycle_lr", std::move(options))) {
  const std::size_t groups = rates.size();
  const std::vector<double> max_lrs = per_group("one_cycle_lr", "max_lr", options_.max_lr, groups);
  const std::vector<double> low = per_group("one_cycle_lr", "base_momentum", options_.base_momentum, groups);
  const std::vector<double> high = per_group("one_cycle_lr", "max_momentum", options_.max_momentum, groups);
  if (options_.cycle_momentum) {
    check_momentum("one_cycle_lr", rates);
  }
  make_phases();
  for (std::size_t i = 0; i < groups; ++i) {
    Levels levels;
    levels.initial_lr = max_lrs[i] / options_.div_factor;
    levels.max_lr = max_lrs[i];
    levels.min_lr = levels.initial_lr / options_.final_div_factor;
    levels.base_momentum = low[i];
    levels.max_momentum = high[i];
    levels_.push_back(levels);
    rates[i].initial_lr = levels.initial_lr;
    base_lrs_[i] = levels.initial_lr;
  }
  begin();
}

void OneCycleLR::make_phases() {
  const double steps = static_cast<double>(options_.total_steps);
  const double pct = options_.pct_start;
  phases_.push_back(
      {pct * steps - 1, &Levels::initial_lr, &Levels::max_lr, &Levels::max_momentum, &Levels::base_momentum});
  if (options_.three_phase) {
    phases_.push_back(
        {2 * pct * steps - 2, &Levels::max_lr, &Levels::initial_lr, &Levels::base_momentum, &Levels::max_momentum});
    phases_.push_back({steps - 1, &Levels::initial_lr, &Levels::min_lr, &Levels::max_momentum, &Levels::max_momentum});
  } else {
    phases_.push_back({steps - 1, &Levels::max_lr, &Levels::min_lr, &Levels::base_momentum, &Levels::max_momentum});
  }
}

OneCycleLR::Position OneCycleLR::position() const {
  GRADWISE_CHECK(last_epoch_ <= options_.total_steps, "one_cycle_lr", "step ", last_epoch_,
                 " is past the cycle, allowed: up to total_steps = ", options_.total_steps);
  const double step = static_cast<double>(last_epoch_);
  double start_step = 0.0;
  std::size_t i = 0;
  while (i + 1 < phases_.size() && step > phases_[i].end_step) {
    start_step = phases_[i].end_step;
    ++i;
  }
  const double length = phases_[i].end_step - start_step;
  GRADWISE_CHECK(length != 0, "one_cycle_lr", "pct_start is ", options_.pct_start,
                 ", which with total_steps = ", options_.total_steps,
                 " leaves no step between two turns of the cycle at step ", last_epoch_);
  return {&phases_[i], (step - start_step) / length};
}

double OneCycleLR::anneal(double start, double end, double pct) const {
  if (options_.anneal_strategy == "linear") {
    return (end - start) * pct + start;
  }
  const double cos_out = std::cos(std::numbers::pi * pct) + 1;
  return end + (start - end) / 2.0 * cos_out;
}

double OneCycleLR::next_lr(std::size_t group) const {
  const auto [phase, pct] = position();
  const Levels& levels = levels_[group];
  return anneal(levels.*(phase->start_lr), levels.*(phase->end_lr), pct);
}

double OneCycleLR::next_momentum(std::size_t group) const {
  if (!options_.cycle_momentum) {
    return rates()[group].momentum;
  }
  const auto [phase, pct] = position();
  const Levels& levels = levels_[group];
  return anneal(levels.*(phase->start_momentum), levels.*(phase->end_momentum), pct);
}

CyclicLR::CyclicLR(std::vector<Rate>& rates, CyclicLrOptions options)
    : LRScheduler(start_low(rates, options)),
      options_(std::move(options)),
      max_lrs_(per_group("cyclic_lr", "max_lr", options_.max_lr, rates.size())),
      base_momenta_(per_group("cyclic_lr", "base_momentum", options_.base_momentum, rates.size())),
      max_momenta_(per_group("cyclic_lr", "max_momentum", options_.max_momentum, rates.size())) {
  const double up = static_cast<double>(options_.step_size_up);
  const double down = options_.step_size_down == 0 ? up : static_cast<double>(options_.step_size_down);
  total_size_ = up + down;
  step_ratio_ = up / total_size_;
  begin();
  base_lrs_ = per_group("cyclic_lr", "base_lr", options_.base_lr, rates.size());
}

CyclicLR::Position CyclicLR::position() const {
  const double turns = static_cast<double>(last_epoch_) / total_size_;
  const double cycle = std::floor(1 + turns);
  const double x = 1.0 + turns - cycle;
  return {x <= step_ratio_ ? x / step_ratio_ : (x - 1) / (step_ratio_ - 1), scale(cycle)};
}

double CyclicLR::scale(double cycle) const {
  const double step = static_cast<double>(last_epoch_);
  if (options_.scale_fn) {
    return options_.scale_fn(options_.scale_mode == "cycle" ? cycle : step);
  }
  if (options_.mode == "triangular2") {
    return 1 / std::pow(2.0, cycle - 1);
  }
  return options_.mode == "exp_range" ? std::pow(options_.gamma, step) : 1.0;
}

double CyclicLR::next_lr(std::size_t group) const {
  const auto [scale_factor, height] = position();
  const double base_height = (max_lrs_[group] - base_lrs_[group]) * scale_factor;
  return base_lrs_[group] + base_height * height;
}

double CyclicLR::next_momentum(std::size_t group) const {
  if (!options_.cycle_momentum) {
    return rates()[group].momentum;
  }
  const auto [scale_factor, height] = position();
  const double base_height = (max_momenta_[group] - base_momenta_[group]) * scale_factor;
  return max_momenta_[group] - base_height * height;
}

}  // namespace gradwise
