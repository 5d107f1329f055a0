#include "gradwise/rules/all_rules.h"

#include "gradwise/core/nearest_name.h"

namespace gradwise {

std::vector<Rule> all_rules() {
  return {// gradients/
          nonfinite_gradient(), vanishing_flow(), exploding_gradient(), exploding_flow(), gradient_imbalance(),
          missing_gradient(), frozen_layer(), untrained_parameters(), gradient_underflow(), accumulating_gradients(),
          always_clipped(), never_clipped(), batch_too_small(),
          // activations/
          dead_units(), saturated_units(), nonfinite_activation(), batch_norm_drift(), batch_norm_evaluation(),
          batch_norm_of_few(), double_softmax(), sigmoid_before_cross_entropy(), rectified_output(),
          missing_log_softmax(), missing_activation(),
          // optimizer/
          learning_rate_too_high(), learning_rate_too_low(), update_ratio_out_of_band(), weight_growth(),
          strong_weight_decay(), ema_lag(), stale_optimizer_state(), constant_initialization(), wide_initialization(),
          narrow_initialization(), stalled_step(),
          // loss/
          loss_spike(),
          // sagemaker/
          sagemaker_vanishing_gradient()};
}

Rule rule_named(const std::string& name) {
  std::vector<std::string> known;
  for (Rule& rule : all_rules()) {
    if (rule.name == name) {
      return rule;
    }
    known.push_back(rule.name);
  }
  fail_usage("rules", "there is no rule \"", name, "\"", did_you_mean(name, known));
}

}  // namespace gradwise
