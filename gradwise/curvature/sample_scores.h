#pragma once

#include "gradwise/core/model.h"
#include "gradwise/curvature/output_jacobian.h"

namespace gradwise {

/// The derivatives of samples' losses by their outputs: what per-sample gradients g_n = J_nᵀ s_n are made of.
struct SampleScores {
  at::Tensor loss;    ///< of the mini-batch, without a graph
  at::Tensor values;  ///< (n, ...), in the output's shape
};

/// From one backward pass through the loss, which is to be a mean or a sum over samples of what each one's output and
/// target give. Errors of `place`: an output whose dimension 0 is not the samples; as checked_loss.
[[nodiscard]] SampleScores sample_scores(const char* place, const LossFunction& loss_function, const at::Tensor& output,
                                         const Batch& batch, bool mean);

/// weight * sum over n of J_nᵀ s_n (J_nᵀ s_n)ᵀ v, without making the gradients. `scores`: (n, ...), in the output's
/// shape, or (m, n, ...) for the sum over m of them.
[[nodiscard]] at::Tensor outer_products_times(const OutputJacobian& J, const at::Tensor& scores, double weight,
                                              const at::Tensor& vector);

}  // namespace gradwise
