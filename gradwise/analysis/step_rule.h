#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "gradwise/core/reading.h"

namespace gradwise {

/// An optimizer's step as linear stability sees it. On a quadratic loss of the Hessian H, with the preconditioner P
/// held still, steps settle where learning_rate x the largest eigenvalue of P^-1/2 H P^-1/2 is below `threshold`; a
/// training whose figure hovers there is at the edge of stability (Cohen et al., "Gradient Descent on Neural Networks
/// Typically Occurs at the Edge of Stability", 2021; "Adaptive Gradient Methods at the Edge of Stability", 2022).
/// Gradients are taken for the whole data's, and weight decay and clipping are left out.
///
///   analyzer.analyze_gradients(model, loss_function, input, target, sgd_rule(0.1, {.momentum = 0.9}));
struct StepRule {
  std::string optimizer;  ///< in words
  double learning_rate = kNotMeasured;
  double threshold = kNotMeasured;
  /// Diagonal of P^-1 for each trainable parameter: of its shape, or one number; empty: 1.
  std::vector<at::Tensor> scales;
  std::string unknown = "no learning rate was given";  ///< why there is no such figure; empty where there is
};

struct SgdMomentum {
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
};

/// Gradient descent as torch.optim.SGD makes it. Thresholds (2021, section 2): 2 without momentum; with beta
/// 2 (1 + beta) / (1 - dampening), or 2 (1 + beta) / (1 + 2 beta) in Nesterov's form. Errors: a learning rate that is
/// negative or not finite, a momentum outside [0, 1[, a dampening of 1 or more, Nesterov's form with a dampening.
[[nodiscard]] StepRule sgd_rule(double learning_rate, const SgdMomentum& momentum = {});

/// What Adam remembers of a parameter, by torch's names.
struct AdamMoments {
  at::Tensor exp_avg_sq;  ///< its running maximum with amsgrad
  std::int64_t step = 0;
};

struct AdamBetas {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
};

/// Adam and AdamW: P = (1 - beta1^t) (sqrt(v / (1 - beta2^t)) + eps), and the threshold 2 (1 + beta1) / (1 - beta1), 38
/// at 0.9 (2022). `moments` are those of the trainable parameters, in their order; one that has made no step is left
/// out, and where none has made one the figure is not known. Errors: as sgd_rule, with the betas for the momentum.
[[nodiscard]] StepRule adam_rule(const std::string& optimizer, double learning_rate, const AdamBetas& betas,
                                 const std::vector<AdamMoments>& moments);

/// A rule without a figure, and why.
[[nodiscard]] StepRule unknown_rule(const std::string& optimizer, const std::string& why);
/// That of an optimizer other than SGD, Adam and AdamW.
[[nodiscard]] StepRule unknown_optimizer_rule(const std::string& optimizer);
/// That of an optimizer which maximizes.
[[nodiscard]] StepRule ascent_rule(const std::string& optimizer);
/// That of a momentum or a dampening which sgd_rule refuses.
[[nodiscard]] StepRule unsettled_rule(const std::string& optimizer);

/// The rule for parameters that have learning rates of their own, in the order of the trainable ones: the largest is
/// the rule's, what the others lack goes into `scales`. Errors: another number of rates than of scales, where there are
/// some; no rate, one that is negative or not finite.
[[nodiscard]] StepRule with_rates(StepRule rule, const std::vector<double>& learning_rates);

}  // namespace gradwise
