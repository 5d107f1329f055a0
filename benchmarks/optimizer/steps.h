#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "benchmarks/optimizer/shapes.h"

namespace gradwise::bench {

/// One way to take an optimizer step: AdamW, clipping to a global norm of 1, an average of decay 0.999.
struct StepKind {
  std::string name;
  std::function<void()> step;
  double bytes_per_parameter;  ///< that it has to read and write at least
};

/// Ways to take a step, each over parameters, gradients and state of its own, made when it is asked for.
///   ours              FusedOptimizer: norm in one pass; clip, update, average and all statistics in another
///   ours_norm_known   the same where Watch has read the norm in backward
///   ours_bf16_state   ours with moments of 16 bits
///   aten_fused        ATen's fused AdamW, foreach clip and foreach average: torch's best, without statistics
///   aten_fused_stats  the same with five of ours' statistics of each gradient, none of weights and updates
///   aten_fused_alone  ATen's fused AdamW and nothing else
///   libtorch          torch::optim::AdamW, torch::nn::utils::clip_grad_norm_ and an average
/// make_step also makes
///   ours_one_tensor   ours over one tensor of as many elements: beside it, what it costs that they are many
[[nodiscard]] const std::vector<std::string>& step_kinds();
[[nodiscard]] StepKind make_step(const std::string& kind, const Shapes& shapes);

/// Seconds that the machine needs to read and write `bytes` in place, with the threads that ATen has.
[[nodiscard]] double copy_seconds(std::int64_t bytes);

}  // namespace gradwise::bench
