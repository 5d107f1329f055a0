#pragma once

#include <cstdint>
#include <vector>

#include "gradwise/autograd/checkpoint/chain_schedule.h"
#include "gradwise/autograd/checkpoint/checkpoint.h"
#include "gradwise/core/named_parameters.h"

namespace gradwise {

struct PlanOptions {
  std::int64_t slots = 500;      ///< equal parts of the budget in which bytes are counted
  std::int64_t repeats = 3;      ///< runs of each stage; its times are their medians
  NamedParameters buffers = {};  ///< that stages write (a model's `buffers`): their values are put back at the end
};

struct CheckpointPlan {
  std::vector<ChainStage> stages;  ///< as they were measured
  PlannedChain chain;
};

/// Measures each stage on `input` and finds the schedule of least time whose activations and their gradients stay
/// within `memory_budget` bytes: see `schedule_chain`. Memory is what the allocators report; the input, the parameters
/// and their gradients are not in it. Every stage is run forward `repeats` + 3 times (the last one + 2) and backward
/// `repeats` + 1 times; gradients of the parameters, the random state and `buffers` are as before when it returns or
/// throws; other buffers that a stage writes are not. On an accelerator it waits for the stage's device around each
/// run, to time the work itself.
///
///   const CheckpointPlan plan = plan_checkpoints(stages, batch, 512 << 20);
///   const at::Tensor output = checkpoint_planned(stages, plan, batch);  // and in every step that follows
///
/// Errors: no stage; a stage without a tensor as its result; a budget below the least that any schedule takes.
[[nodiscard]] CheckpointPlan plan_checkpoints(const std::vector<StageFunction>& stages, const at::Tensor& input,
                                              std::int64_t memory_budget, const PlanOptions& options = {});

/// Runs stages one after the other by a plan. Gradients are those of the plain chain to the bit. Errors: a plan for
/// another number of stages; with `reentrant`, an input that asks for no gradient.
[[nodiscard]] at::Tensor checkpoint_planned(const std::vector<StageFunction>& stages, const CheckpointPlan& plan,
                                            const at::Tensor& input, const RecomputeOptions& options = {});

}  // namespace gradwise
