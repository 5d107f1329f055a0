#pragma once

#include <vector>

#include "gradwise/rules/rule.h"

/// Every rule that Gradwise ships: a function each, in a file of its own. A new one is a file, its line here and its
/// line in all_rules.cpp.
namespace gradwise {

// sagemaker/: the rules of SageMaker Debugger with their published defaults
[[nodiscard]] Rule sagemaker_all_zero();
[[nodiscard]] Rule sagemaker_class_imbalance();
[[nodiscard]] Rule sagemaker_confusion();
[[nodiscard]] Rule sagemaker_dead_relu();
[[nodiscard]] Rule sagemaker_exploding_tensor();
[[nodiscard]] Rule sagemaker_input_not_normalized();
[[nodiscard]] Rule sagemaker_loss_not_decreasing();
[[nodiscard]] Rule sagemaker_overfit();
[[nodiscard]] Rule sagemaker_overtraining();
[[nodiscard]] Rule sagemaker_poor_weight_initialization();
[[nodiscard]] Rule sagemaker_saturated_activation();
[[nodiscard]] Rule sagemaker_sequence_ratio();
[[nodiscard]] Rule sagemaker_similar_across_runs();
[[nodiscard]] Rule sagemaker_stalled_training();
[[nodiscard]] Rule sagemaker_tensor_variance();
[[nodiscard]] Rule sagemaker_unchanged_tensor();
[[nodiscard]] Rule sagemaker_vanishing_gradient();
[[nodiscard]] Rule sagemaker_weight_update_ratio();

// gradients/
[[nodiscard]] Rule nonfinite_gradient();
[[nodiscard]] Rule vanishing_flow();
[[nodiscard]] Rule exploding_gradient();
[[nodiscard]] Rule exploding_flow();
[[nodiscard]] Rule gradient_imbalance();
[[nodiscard]] Rule missing_gradient();
[[nodiscard]] Rule frozen_layer();
[[nodiscard]] Rule untrained_parameters();
[[nodiscard]] Rule frozen_as_initialized();
[[nodiscard]] Rule gradient_underflow();
[[nodiscard]] Rule accumulating_gradients();
[[nodiscard]] Rule always_clipped();
[[nodiscard]] Rule never_clipped();
[[nodiscard]] Rule batch_too_small();

// activations/
[[nodiscard]] Rule dead_units();
[[nodiscard]] Rule saturated_units();
[[nodiscard]] Rule nonfinite_activation();
[[nodiscard]] Rule batch_norm_drift();
[[nodiscard]] Rule batch_norm_evaluation();
[[nodiscard]] Rule batch_norm_of_few();
[[nodiscard]] Rule double_softmax();
[[nodiscard]] Rule sigmoid_before_cross_entropy();
[[nodiscard]] Rule rectified_output();
[[nodiscard]] Rule missing_log_softmax();
[[nodiscard]] Rule missing_activation();

// optimizer/
[[nodiscard]] Rule learning_rate_too_high();
[[nodiscard]] Rule learning_rate_too_low();
[[nodiscard]] Rule update_ratio_out_of_band();
[[nodiscard]] Rule weight_growth();
[[nodiscard]] Rule weight_jump();
[[nodiscard]] Rule blow_up();
[[nodiscard]] Rule strong_weight_decay();
[[nodiscard]] Rule ema_lag();
[[nodiscard]] Rule stale_optimizer_state();
[[nodiscard]] Rule constant_initialization();
[[nodiscard]] Rule wide_initialization();
[[nodiscard]] Rule narrow_initialization();
[[nodiscard]] Rule stalled_step();

// loss/
[[nodiscard]] Rule initial_loss_off();
[[nodiscard]] Rule loss_divergence();
[[nodiscard]] Rule loss_not_learning();
[[nodiscard]] Rule loss_oscillation();
[[nodiscard]] Rule loss_plateau();
[[nodiscard]] Rule loss_spike();
[[nodiscard]] Rule nonfinite_loss();
[[nodiscard]] Rule overfitting();
[[nodiscard]] Rule slow_convergence();
[[nodiscard]] Rule unlearned_at_validation();

// data/
[[nodiscard]] Rule confused_classes();
[[nodiscard]] Rule constant_input();
[[nodiscard]] Rule constant_labels();
[[nodiscard]] Rule constant_output();
[[nodiscard]] Rule imbalanced_labels();
[[nodiscard]] Rule input_scale();
[[nodiscard]] Rule nonfinite_input();
[[nodiscard]] Rule nonfinite_output();
[[nodiscard]] Rule one_sample_batches();
[[nodiscard]] Rule outlier_batch();
[[nodiscard]] Rule padded_sequences();
[[nodiscard]] Rule target_scale();
[[nodiscard]] Rule unshuffled_data();

// autotrainer/: the rules of AUTOTRAINER (ICSE 2021) with its thresholds
[[nodiscard]] Rule autotrainer_dying_relu();
[[nodiscard]] Rule autotrainer_exploding_gradient();
[[nodiscard]] Rule autotrainer_oscillating_loss();
[[nodiscard]] Rule autotrainer_slow_convergence();
[[nodiscard]] Rule autotrainer_vanishing_gradient();

/// All of them, Gradwise's own first.
[[nodiscard]] std::vector<Rule> all_rules();
/// One by its name; an Error with the nearest known name where there is none.
[[nodiscard]] Rule rule_named(const std::string& name);

}  // namespace gradwise
