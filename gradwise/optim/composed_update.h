#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "gradwise/optim/fused_options.h"

namespace gradwise {

/// Parameters of one group that are at the same step.
struct ComposedStep {
  std::vector<at::Tensor> parameters;
  std::vector<at::Tensor> gradients;  ///< dense, scaled already
  std::vector<at::Tensor> first;      ///< and the lines of their states; empty where the rule has none
  std::vector<at::Tensor> second;
  std::vector<at::Tensor> third;
};

/// The update by ATen's foreach operators, in the order of torch.optim's `_single_tensor_*` functions: on the CPU it
/// has their bits. On other devices Adam and AdamW take ATen's fused kernel, unless `options.parity` is set. `step`
/// counts from 1.
void composed_update(const FusedOptions& options, std::int64_t step, const ComposedStep& tensors);

/// An error where an optimizer of these options does not take sparse gradients.
void check_takes_sparse(const FusedOptions& options);

/// One sparse gradient, by sgd or adagrad, as torch.optim does it: weights that it does not name stay. sgd with
/// momentum or weight decay takes it as a dense one.
void sparse_update(const FusedOptions& options, std::int64_t step, const at::Tensor& parameter,
                   const at::Tensor& gradient, const FusedState& state);

}  // namespace gradwise
