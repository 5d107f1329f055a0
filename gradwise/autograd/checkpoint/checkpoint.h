#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "gradwise/autograd/functions/tensor_function.h"

namespace gradwise {

/// How a checkpointed function is run again.
struct RecomputeOptions {
  bool reentrant = false;             ///< run a backward pass inside of backward, as the first form in PyTorch did
  bool preserve_random_state = true;  ///< recompute with the random state of the forward pass: dropout is the same
  /// End the recomputation where the last tensor that is needed is there. Not of the reentrant form, which needs all.
  bool early_stop = true;
  /// Compare shapes, types and number of recomputed tensors. Tensors beyond those of the forward pass go unseen where
  /// early_stop ends the recomputation before they are made; without it they are an error. Not of the reentrant form,
  /// which has none to compare with.
  bool determinism_check = true;
};

/// Runs a function without keeping what its backward needs; backward runs it again for that
/// (`torch.utils.checkpoint.checkpoint`; Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). Gradients
/// are the same to the bit, those of captured parameters too. Random state and autocast are as in the forward pass
/// when it is run again: the CPU's random state, and both of the first input that is on another device; those of
/// further devices are not put back. Buffers that it writes (running statistics of batch norm) are written twice.
/// Inside of a transform (`vmap`, `grad`, ...) and without grad mode the function just runs.
///
/// Without `reentrant` it works with any number of inputs and outputs, nested, under `autograd::grad`, several
/// backwards with a kept graph, and double backward. The function must make the same tensors each time, and must not
/// swallow exceptions that are no `std::exception`: the recomputation ends by one. Who looks at its saved tensors
/// outside of backward (`walk_graph`) has it run once more, for all of them. With `reentrant` it serves plain
/// `backward` alone.
///
/// Errors: no input that asks for a gradient, with `reentrant` (captured parameters alone would get none). In backward:
/// tensors that differ in shape, type or number when they are made again.
[[nodiscard]] Tensors checkpoint(TensorFunction function, const Tensors& inputs, const RecomputeOptions& options = {});

/// The same of a function with one input and one output.
[[nodiscard]] at::Tensor checkpoint(std::function<at::Tensor(const at::Tensor&)> function, const at::Tensor& input,
                                    const RecomputeOptions& options = {});

namespace detail {
/// Ends a recomputation; no std::exception, so that a function which catches those lets it pass.
struct RecomputationDone {};
}  // namespace detail

using StageFunction = std::function<at::Tensor(const at::Tensor&)>;

/// Runs stages one after the other, in `segments` parts of which all but the last are checkpointed
/// (`torch.utils.checkpoint.checkpoint_sequential`). Each has stages / segments of them, rounded down; the last has the
/// rest too. Errors: segments out of 1 ... stages; with `reentrant`, an input that asks for no gradient.
[[nodiscard]] at::Tensor checkpoint_sequential(const std::vector<StageFunction>& stages, std::int64_t segments,
                                               const at::Tensor& input, const RecomputeOptions& options = {});

}  // namespace gradwise
