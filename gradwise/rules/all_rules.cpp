#include "gradwise/rules/all_rules.h"

#include "gradwise/core/nearest_name.h"

namespace gradwise {

std::vector<Rule> all_rules() {
  return {// gradients/
          nonfinite_gradient(), vanishing_flow(), exploding_gradient(), exploding_flow(), gradient_imbalance(),
          missing_gradient(), frozen_layer(), untrained_parameters(), frozen_as_initialized(), gradient_underflow(),
          accumulating_gradients(), always_clipped(), never_clipped(), batch_too_small(),
          // activations/
          dead_units(), saturated_units(), nonfinite_activation(), batch_norm_drift(), batch_norm_evaluation(),
          batch_norm_of_few(), double_softmax(), sigmoid_before_cross_entropy(), rectified_output(),
          missing_log_softmax(), missing_activation(),
          // optimizer/
          learning_rate_too_high(), learning_rate_too_low(), update_ratio_out_of_band(), weight_growth(), weight_jump(),
          blow_up(), strong_weight_decay(), ema_lag(), stale_optimizer_state(), constant_initialization(),
          wide_initialization(), narrow_initialization(), stalled_step(),
          // loss/
          initial_loss_off(), loss_divergence(), loss_not_learning(), loss_oscillation(), loss_plateau(), loss_spike(),
          nonfinite_loss(), overfitting(), slow_convergence(), unlearned_at_validation(),
          // data/
          confused_classes(), constant_input(), constant_labels(), constant_output(), imbalanced_labels(),
          input_scale(), nonfinite_input(), nonfinite_output(), one_sample_batches(), outlier_batch(),
          padded_sequences(), target_scale(), unshuffled_data(),
          // sagemaker/
          sagemaker_all_zero(), sagemaker_class_imbalance(), sagemaker_confusion(), sagemaker_dead_relu(),
          sagemaker_exploding_tensor(), sagemaker_input_not_normalized(), sagemaker_loss_not_decreasing(),
          sagemaker_overfit(), sagemaker_overtraining(), sagemaker_poor_weight_initialization(),
          sagemaker_saturated_activation(), sagemaker_sequence_ratio(), sagemaker_similar_across_runs(),
          sagemaker_stalled_training(), sagemaker_tensor_variance(), sagemaker_unchanged_tensor(),
          sagemaker_vanishing_gradient(), sagemaker_weight_update_ratio(),
          // autotrainer/
          autotrainer_dying_relu(), autotrainer_exploding_gradient(), autotrainer_oscillating_loss(),
          autotrainer_slow_convergence(), autotrainer_vanishing_gradient()};
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
