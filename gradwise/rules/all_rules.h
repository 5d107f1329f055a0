#pragma once

#include <vector>

#include "gradwise/rules/rule.h"

/// Every rule that Gradwise ships: a function each, in a file of its own. A new one is a file, its line here and its
/// line in all_rules.cpp.
namespace gradwise {

// sagemaker/: the rules of SageMaker Debugger with their published defaults
[[nodiscard]] Rule sagemaker_vanishing_gradient();

// gradients/
[[nodiscard]] Rule nonfinite_gradient();
[[nodiscard]] Rule vanishing_flow();
[[nodiscard]] Rule exploding_gradient();
[[nodiscard]] Rule exploding_flow();
[[nodiscard]] Rule gradient_imbalance();
[[nodiscard]] Rule missing_gradient();
[[nodiscard]] Rule frozen_layer();
[[nodiscard]] Rule untrained_parameters();
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
[[nodiscard]] Rule strong_weight_decay();
[[nodiscard]] Rule ema_lag();
[[nodiscard]] Rule stale_optimizer_state();
[[nodiscard]] Rule constant_initialization();
[[nodiscard]] Rule wide_initialization();
[[nodiscard]] Rule narrow_initialization();
[[nodiscard]] Rule stalled_step();

// loss/
[[nodiscard]] Rule loss_spike();

/// All of them, Gradwise's own first.
[[nodiscard]] std::vector<Rule> all_rules();
/// One by its name; an Error with the nearest known name where there is none.
[[nodiscard]] Rule rule_named(const std::string& name);

}  // namespace gradwise
