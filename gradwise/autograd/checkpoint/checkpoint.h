#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "gradwise/autograd/functions/tensor_function.h"

namespace gradwise {

struct RecomputeOptions {
  bool reentrant = false;             ///< run a backward pass inside of backward, as the first form in PyTorch did
  bool preserve_random_state = true;  ///< recompute with the random state of the forward pass: dropout is the same
  bool early_stop = true;             ///< end the recomputation where the last tensor that is needed is there
  bool determinism_check = true;      ///< compare shapes, types and number of recomputed tensors
};

/// Runs a function without keeping what its backward needs; backward runs it again for that
/// (`torch.utils.checkpoint.checkpoint`; Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). Gradients
/// are the same to the bit, those of captured parameters too. Random state and autocast are as in the forward pass
/// when it is run again; buffers that it writes (running statistics of batch norm) are written twice.
///
/// Without `reentrant` it works with any number of inputs and outputs, nested, under `autograd::grad`, several
/// backwards with a kept graph, and double backward. The function must make the same tensors each time, and must not
/// swallow exceptions that are no `std::exception`: the recomputation ends by one. With `reentrant` it serves plain
/// `backward` alone, and gradients flow only if an input asks for one.
///
/// Errors, in backward: tensors that differ in shape, type or number when they are made again.
[[nodiscard]] Tensors checkpoint(TensorFunction function, const Tensors& inputs, const RecomputeOptions& options = {});

/// The same of a function with one input and one output.
[[nodiscard]] at::Tensor checkpoint(std::function<at::Tensor(const at::Tensor&)> function, const at::Tensor& input,
                                    const RecomputeOptions& options = {});

using StageFunction = std::function<at::Tensor(const at::Tensor&)>;

/// Runs stages one after the other, in `segments` parts of (nearly) equal number of which all but the last are
/// checkpointed (`torch.utils.checkpoint.checkpoint_sequential`). Error: segments out of 1 ... stages.
[[nodiscard]] at::Tensor checkpoint_sequential(const std::vector<StageFunction>& stages, std::int64_t segments,
                                               const at::Tensor& input, const RecomputeOptions& options = {});

}  // namespace gradwise
