#include "gradwise/optim/decay_schedules.h"

#include <cmath>

namespace gradwise {

LinearLR::LinearLR(std::vector<Rate>& rates, LinearLrOptions options)
    : LRScheduler(rates), options_(checked("linear_lr", options)) {
  begin();
}

double LinearLR::next_lr(std::size_t group) const {
  const double lr = rates()[group].lr;
  if (last_epoch_ == 0) {
    return lr * options_.start_factor;
  }
  if (is_initial_ || last_epoch_ > options_.total_iters) {
    return lr;
  }
  const double rise = options_.end_factor - options_.start_factor;
  const double steps = static_cast<double>(options_.total_iters);
  return lr * (1.0 + rise / (steps * options_.start_factor + static_cast<double>(last_epoch_ - 1) * rise));
}

PolynomialLR::PolynomialLR(std::vector<Rate>& rates, PolynomialLrOptions options)
    : LRScheduler(rates), options_(checked("polynomial_lr", options)) {
  begin();
}

double PolynomialLR::next_lr(std::size_t group) const {
  const double lr = rates()[group].lr;
  if (is_initial_ || last_epoch_ > options_.total_iters) {
    return lr;
  }
  const double steps = static_cast<double>(options_.total_iters);
  const double left = 1.0 - static_cast<double>(last_epoch_) / steps;
  const double left_before = 1.0 - static_cast<double>(last_epoch_ - 1) / steps;
  return lr * std::pow(left / left_before, options_.power);
}

}  // namespace gradwise
