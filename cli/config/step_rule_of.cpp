#include "cli/config/step_rule_of.h"

#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "gradwise/optim/parameter_groups.h"

namespace gradwise {
namespace {

// Learning rates by the parameters that they are of.
using RateOf = std::unordered_map<const at::TensorImpl*, double>;

void set_rate_of(const std::vector<at::Tensor>& members, double rate, RateOf& rate_of) {
  for (const at::Tensor& member : members) {
    rate_of[member.unsafeGetTensorImpl()] = rate;
  }
}

// 0 of a parameter that is in no group.
std::vector<double> in_order(const NamedParameters& trainable, const RateOf& rate_of) {
  std::vector<double> rates;
  for (const at::Tensor& parameter : trainable.tensors) {
    const auto found = rate_of.find(parameter.unsafeGetTensorImpl());
    rates.push_back(found == rate_of.end() ? 0.0 : found->second);
  }
  return rates;
}

std::vector<double> learning_rates(const NamedParameters& trainable, AutogradOptimizer& optimizer) {
  const std::vector<Rate> rates = optimizer.rates();
  RateOf rate_of;
  for (std::size_t g = 0; g < rates.size(); ++g) {
    set_rate_of(optimizer.torch_optimizer().param_groups()[g].params(), rates[g].lr, rate_of);
  }
  return in_order(trainable, rate_of);
}

// Before any schedule.
std::vector<double> base_rates(const NamedParameters& parameters, const OptimizerOptions& options) {
  RateOf rate_of;
  for (const GroupedParameters& group : group_parameters(options, parameters)) {
    set_rate_of(group.tensors, group.setting.lr, rate_of);
  }
  return in_order(parameters.trainable(), rate_of);
}

bool all_zero(const std::vector<double>& rates) {
  return std::ranges::all_of(rates, [](double rate) { return rate == 0; });
}

std::vector<AdamMoments> adam_moments(const NamedParameters& trainable, const AutogradOptimizer& optimizer,
                                      bool amsgrad) {
  const State state = optimizer.state().nested("optimizer");
  const nlohmann::json counts = state.values.value("state", nlohmann::json::object());
  std::vector<AdamMoments> moments;
  for (const std::string& name : trainable.names) {
    AdamMoments& moment = moments.emplace_back();
    const auto found = state.tensors.find(name + (amsgrad ? "/max_exp_avg_sq" : "/exp_avg_sq"));
    if (found != state.tensors.end() && counts.contains(name)) {
      moment = {found->second, counts.at(name).value("step", std::int64_t{0})};
    }
  }
  return moments;
}

}  // namespace

StepRule step_rule_of(const OptimizerOptions& options, AutogradOptimizer& optimizer) {
  const std::string& name = options.name;
  const bool adam = name == "adam" || name == "adamw";
  if (name != "sgd" && !adam) {
    return unknown_optimizer_rule(name);
  }
  if (options.maximize) {
    return ascent_rule(name);
  }
  const NamedParameters trainable = optimizer.model().parameters.trainable();
  std::vector<double> rates = learning_rates(trainable, optimizer);
  const bool at_rest = all_zero(rates);
  if (at_rest) {  // a schedule begins or ends at 0, where the figure would be 0 whatever the curvature is
    rates = base_rates(optimizer.model().parameters, options);
    if (all_zero(rates)) {
      return unknown_rule(name, "its learning rate is 0");
    }
  }
  StepRule rule;
  const double momentum = optimizer.rates().front().momentum;  // as a schedule has left it
  if (adam) {
    rule = adam_rule(name, rates.front(), {momentum, options.beta2, options.eps},
                     adam_moments(trainable, optimizer, options.amsgrad));
  } else if (momentum >= 1 || options.dampening >= 1) {
    return unsettled_rule(name);
  } else {
    rule = sgd_rule(rates.front(), {momentum, options.dampening, options.nesterov});
  }
  rule.optimizer += at_rest && rule.unknown.empty() ? " at its base rate" : "";
  return with_rates(std::move(rule), rates);
}

}  // namespace gradwise
