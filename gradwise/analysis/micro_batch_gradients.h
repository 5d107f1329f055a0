#pragma once

#include <vector>

#include "gradwise/core/model.h"

namespace gradwise {

/// Gradient of a loss with respect to the trainable parameters, in one vector (P), and the loss. Undefined entries
/// (parameters that the loss does not depend on) count as 0 and are listed.
struct BatchGradient {
  at::Tensor gradient;
  double loss = 0;
  std::vector<bool> missing;
};

/// Computes gradients and leaves everything as it was: `.grad`, buffers, mode, random state.
class GradientSource {
 public:
  /// Errors: no trainable parameter.
  GradientSource(const Model& model, LossFunction loss_function);

  /// Of one batch, whole. Errors: an empty batch, a loss that is not a scalar or has no graph. `keep` gets the loss
  /// with its graph before it is used up, where it is given.
  [[nodiscard]] BatchGradient of(const Batch& batch,
                                 const std::function<void(const at::Tensor& loss)>& keep = nullptr) const;
  /// A row (n x P) for each of `count` equal parts of the batch, in order; samples that are left over have no part.
  /// Every part sees the same random state.
  [[nodiscard]] at::Tensor of_parts(const Batch& batch, std::int64_t count) const;
  /// Names and sizes of the pieces of the vector.
  [[nodiscard]] const NamedParameters& parameters() const { return parameters_; }

 private:
  Model model_;
  LossFunction loss_function_;
  NamedParameters parameters_;  // those that ask for a gradient
};

}  // namespace gradwise
