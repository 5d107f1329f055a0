#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace gradwise {

/// The tensors that a backward pass from `outputs` would accumulate gradients into: parameters and inputs that ask for
/// one, each once, in the order in which the graph is gone through.
[[nodiscard]] std::vector<at::Tensor> graph_leaves(const std::vector<at::Tensor>& outputs);

}  // namespace gradwise
