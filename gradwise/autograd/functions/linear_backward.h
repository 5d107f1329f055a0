#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradwise/autograd/functions/tensor_function.h"

namespace torch::autograd {
struct Node;
}  // namespace torch::autograd

namespace gradwise {

/// Weights for the elements of a tensor, between 0.5 and 1.5 and unequal, without a graph, of its type: for gradients
/// that are taken for the sake of their graph alone. A backward may branch on zeros or divide by them, and a softmax
/// gives zeros where all weights are the same.
[[nodiscard]] at::Tensor generic_weights(const at::Tensor& like);

/// Sees whether functions of the user's own have a backward that is linear in what arrives, in one backward pass with a
/// graph between its making and `check`: where the gradients are differentiated by their weights, for the transpose of
/// the transpose. One that takes what arrives for a constant, as `gradient.detach() * 2 * x`, makes that derivative 0
/// and nothing else tells; one that clamps makes it another than the Jacobian.
///
/// With g what arrives at a function, h = B g what it gives and v = h, ⟨g, Bᵀ v⟩ = ⟨h, v⟩ = |h|² has no cancellation.
/// The sides may differ by 1e-6 in float64, 1e-2 in float32 and 0.1 below, of |g| |Bᵀ v| + |h| |v|, and by 16 ε |g|
/// |v|, what rounding may leave where B is 0. It takes the derivative of each such backward once more, and nothing
/// where there is no function of the user's own. A backward that is of degree one without being linear, as relu(g),
/// passes: of such a one the equation holds.
class LinearityCheck {
 public:
  explicit LinearityCheck(const Tensors& outputs);
  ~LinearityCheck();
  LinearityCheck(const LinearityCheck&) = delete;
  LinearityCheck& operator=(const LinearityCheck&) = delete;

  /// Error of `place`: a backward that is not linear, by the function's name. Nothing is told of gradients that are
  /// sparse, complex or not finite, or that can't be differentiated, of which the derivative itself tells.
  void check(const char* place) const;

 private:
  struct Pass {
    Tensors arrived;
    Tensors given;
  };
  class Recorder;

  std::vector<torch::autograd::Node*> nodes_;
  std::vector<std::uintptr_t> hooks_;
  std::vector<Pass> passes_;  // of each node
};

}  // namespace gradwise
