#include "gradwise/optim/step_schedules.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace gradwise {
namespace {

std::vector<LrLambda> lambda_per_group(const char* place, LambdaLrOptions options, std::size_t groups) {
  std::vector<LrLambda>& lambdas = options.lr_lambda;
  GRADWISE_CHECK(lambdas.size() == 1 || lambdas.size() == groups, place, "lr_lambda has ", lambdas.size(),
                 " functions, allowed: one, or one for each of the ", groups, " parameter groups");
  for (const LrLambda& lambda : lambdas) {
    GRADWISE_CHECK(lambda != nullptr, place, "lr_lambda is an empty function");
  }
  return lambdas.size() == groups ? std::move(lambdas) : std::vector<LrLambda>(groups, lambdas.front());
}

}  // namespace

StepLR::StepLR(std::vector<Rate>& rates, StepLrOptions options)
    : LRScheduler(rates), options_(checked("step_lr", options)) {
  begin();
}

double StepLR::next_lr(std::size_t group) const {
  const double lr = rates()[group].lr;
  if (last_epoch_ == 0 || last_epoch_ % options_.step_size != 0) {
    return lr;
  }
  return lr * options_.gamma;
}

MultiStepLR::MultiStepLR(std::vector<Rate>& rates, MultiStepLrOptions options)
    : LRScheduler(rates), options_(checked("multi_step_lr", std::move(options))) {
  GRADWISE_CHECK(!options_.milestones.empty(), "multi_step_lr", "milestones is empty, allowed: one or more steps");
  std::ranges::sort(options_.milestones);
  begin();
}

double MultiStepLR::next_lr(std::size_t group) const {
  const double lr = rates()[group].lr;
  const auto here = std::ranges::equal_range(options_.milestones, last_epoch_);
  if (here.empty()) {
    return lr;
  }
  return lr * std::pow(options_.gamma, static_cast<double>(here.size()));
}

double MultiStepLR::restart_lr(std::size_t group) const {
  const auto passed = std::ranges::upper_bound(options_.milestones, last_epoch_) - options_.milestones.begin();
  return base_lrs_[group] * std::pow(options_.gamma, static_cast<double>(passed));
}

ExponentialLR::ExponentialLR(std::vector<Rate>& rates, ExponentialLrOptions options)
    : LRScheduler(rates), options_(checked("exponential_lr", options)) {
  begin();
}

double ExponentialLR::next_lr(std::size_t group) const {
  const double lr = rates()[group].lr;
  return is_initial_ ? lr : lr * options_.gamma;
}

ConstantLR::ConstantLR(std::vector<Rate>& rates, ConstantLrOptions options)
    : LRScheduler(rates), options_(checked("constant_lr", options)) {
  begin();
}

double ConstantLR::next_lr(std::size_t group) const {
  const double lr = rates()[group].lr;
  if (last_epoch_ == 0) {
    return lr * options_.factor;
  }
  return last_epoch_ == options_.total_iters ? lr * (1.0 / options_.factor) : lr;
}

double ConstantLR::restart_lr(std::size_t group) const {
  const double over = last_epoch_ >= options_.total_iters ? 1.0 : 0.0;
  return base_lrs_[group] * (options_.factor + over * (1 - options_.factor));
}

LambdaLR::LambdaLR(std::vector<Rate>& rates, LambdaLrOptions options)
    : LRScheduler(rates), lambdas_(lambda_per_group("lambda_lr", std::move(options), rates.size())) {
  begin();
}

double LambdaLR::next_lr(std::size_t group) const { return base_lrs_[group] * lambdas_[group](last_epoch_); }

MultiplicativeLR::MultiplicativeLR(std::vector<Rate>& rates, LambdaLrOptions options)
    : LRScheduler(rates), lambdas_(lambda_per_group("multiplicative_lr", std::move(options), rates.size())) {
  begin();
}

double MultiplicativeLR::next_lr(std::size_t group) const {
  const double lr = rates()[group].lr;
  return is_initial_ ? lr : lr * lambdas_[group](last_epoch_);
}

}  // namespace gradwise
