#include "gradwise/analysis/step_rule.h"

#include <ATen/ops/scalar_tensor.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

void check_rate(double rate) {
  GRADWISE_CHECK(std::isfinite(rate) && rate >= 0, "step_rule", "the learning rate is ", rate, ", allowed: >= 0");
}

void check_momentum(const char* name, double momentum) {
  GRADWISE_CHECK(momentum >= 0 && momentum < 1, "step_rule", name, " is ", momentum, ", allowed: from 0 to below 1");
}

}  // namespace

StepRule unknown_rule(const std::string& optimizer, const std::string& why) {
  StepRule rule;
  rule.optimizer = optimizer;
  rule.unknown = why;
  return rule;
}

StepRule unknown_optimizer_rule(const std::string& optimizer) {
  return unknown_rule(optimizer, "it is known for SGD, Adam and AdamW");
}

StepRule ascent_rule(const std::string& optimizer) {
  return unknown_rule(optimizer, "the optimizer climbs the gradient");
}

StepRule unsettled_rule(const std::string& optimizer) {
  return unknown_rule(optimizer, "steps with a momentum or a dampening of 1 and more do not settle");
}

StepRule sgd_rule(double learning_rate, const SgdMomentum& momentum) {
  const auto& [beta, dampening, nesterov] = momentum;
  check_rate(learning_rate);
  check_momentum("momentum", beta);
  GRADWISE_CHECK(dampening < 1, "step_rule", "dampening is ", dampening, ", allowed: < 1");
  GRADWISE_CHECK(!nesterov || dampening == 0, "step_rule", "dampening is ", dampening,
                 ", allowed with Nesterov's momentum: 0");
  StepRule rule;
  rule.optimizer = beta > 0 ? (nesterov ? "sgd with Nesterov's momentum" : "sgd with momentum") : "sgd";
  rule.learning_rate = learning_rate;
  rule.threshold = beta == 0 ? 2 : nesterov ? 2 * (1 + beta) / (1 + 2 * beta) : 2 * (1 + beta) / (1 - dampening);
  rule.unknown.clear();
  return rule;
}

StepRule adam_rule(const std::string& optimizer, double learning_rate, const AdamBetas& betas,
                   const std::vector<AdamMoments>& moments) {
  check_rate(learning_rate);
  check_momentum("beta1", betas.beta1);
  check_momentum("beta2", betas.beta2);
  StepRule rule;
  rule.optimizer = optimizer;
  rule.learning_rate = learning_rate;
  const auto stepped = [](const AdamMoments& moment) { return moment.step > 0 && moment.exp_avg_sq.defined(); };
  if (std::ranges::none_of(moments, stepped)) {
    rule.unknown = "the optimizer has made no step yet, so that its preconditioner is not known";
    return rule;
  }
  for (const AdamMoments& moment : moments) {
    if (!stepped(moment)) {
      rule.scales.push_back(at::scalar_tensor(0, at::kDouble));
      continue;
    }
    const auto t = static_cast<double>(moment.step);
    const at::Tensor variance = moment.exp_avg_sq.detach().to(at::kDouble).div(1 - std::pow(betas.beta2, t));
    rule.scales.push_back(variance.sqrt().add(betas.eps).mul(1 - std::pow(betas.beta1, t)).reciprocal());
  }
  rule.threshold = 2 * (1 + betas.beta1) / (1 - betas.beta1);
  rule.unknown.clear();
  return rule;
}

StepRule with_rates(StepRule rule, const std::vector<double>& learning_rates) {
  GRADWISE_CHECK(!learning_rates.empty(), "step_rule", "there is no learning rate");
  GRADWISE_CHECK(rule.scales.empty() || rule.scales.size() == learning_rates.size(), "step_rule", "there are ",
                 learning_rates.size(), " learning rates, allowed: one for each of the ", rule.scales.size(),
                 " trainable parameters");
  std::ranges::for_each(learning_rates, check_rate);
  const double largest = std::ranges::max(learning_rates);
  rule.learning_rate = largest;
  if (largest == 0 || std::ranges::min(learning_rates) == largest) {
    return rule;
  }
  for (std::size_t i = 0; i < learning_rates.size(); ++i) {
    const double share = learning_rates[i] / largest;
    if (rule.scales.size() == i) {
      rule.scales.push_back(at::scalar_tensor(share, at::kDouble));
    } else {
      rule.scales[i] = rule.scales[i].mul(share);
    }
  }
  return rule;
}

}  // namespace gradwise
