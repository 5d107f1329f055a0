#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

namespace c10 {
class Error;
}
namespace torch::autograd {
struct Node;
}

namespace gradwise {

/// What an activation's node in the graph has kept: its result, or its input.
struct SavedActivation {
  std::string op;
  at::Tensor tensor;
  double low = 0;  ///< hardtanh: its bounds
  double high = 0;
};

/// What a batch norm's node has kept. The batch statistics are undefined where it ran in evaluation mode.
struct SavedBatchNorm {
  bool training = false;
  at::Tensor running_mean;
  at::Tensor running_var;
  at::Tensor batch_mean;
  at::Tensor batch_inverse_deviation;
};

/// Whether the node is one of an activation that can be read.
[[nodiscard]] bool is_activation(const torch::autograd::Node& node);

/// What it has kept; nullopt where the memory was written over since. Throws c10::Error where a backward pass has freed
/// it.
[[nodiscard]] std::optional<SavedActivation> saved_activation(torch::autograd::Node& node);

/// Whether it is the error of a read after a backward pass has freed what was kept.
[[nodiscard]] bool was_freed(const c10::Error& error);

/// The same for a batch norm; nullopt for any other node.
[[nodiscard]] std::optional<SavedBatchNorm> saved_batch_norm(torch::autograd::Node& node);

}  // namespace gradwise
