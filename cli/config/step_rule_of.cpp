#include "cli/config/step_rule_of.h"

#include <torch/optim/optimizer.h>

#include <cmath>
#include <string>
#include <vector>

namespace gradwise {
namespace {

std::vector<double> learning_rates(const NamedParameters& trainable, AutogradOptimizer& optimizer) {
  const std::vector<Rate> rates = optimizer.rates();
  std::vector<double> found(trainable.size(), 0.0);
  for (std::size_t g = 0; g < rates.size(); ++g) {
    for (const at::Tensor& member : optimizer.torch_optimizer().param_groups()[g].params()) {
      for (std::size_t i = 0; i < trainable.size(); ++i) {
        found[i] = trainable.tensors[i].is_same(member) ? rates[g].lr : found[i];
      }
    }
  }
  return found;
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
    return unknown_rule(name, "it is known for sgd, adam and adamw");
  }
  if (options.maximize) {
    return unknown_rule(name, "the optimizer climbs the gradient");
  }
  const NamedParameters trainable = optimizer.model().parameters.trainable();
  const std::vector<double> rates = learning_rates(trainable, optimizer);
  const double momentum = optimizer.rates().front().momentum;  // as a schedule has left it
  if (adam) {
    return with_rates(adam_rule(name, rates.front(), {momentum, options.beta2, options.eps},
                                adam_moments(trainable, optimizer, options.amsgrad)),
                      rates);
  }
  if (momentum >= 1 || options.dampening >= 1) {
    return unknown_rule(name, "steps with a momentum or a dampening of 1 and more do not settle");
  }
  return with_rates(sgd_rule(rates.front(), {momentum, options.dampening, options.nesterov}), rates);
}

}  // namespace gradwise
