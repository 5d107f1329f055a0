#pragma once

#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/autograd/transforms/recorded.h"

namespace gradwise::detail {

/// The derivative of what was recorded as a function of tangents, by the transpose of the transpose: gradients are
/// linear in the cotangents, whose coefficients are differentiated.
struct TransposedTwice {
  Recorded recorded;
  Tensors cotangents;
  Tensors gradients;

  /// Error: a function of the user's own whose gradients have no graph, or are not linear in what arrives, which the
  /// place is told of.
  TransposedTwice(const char* place, Recorded of);
  /// Tangents of the outputs from those of the inputs.
  [[nodiscard]] Tensors product(const Tensors& tangents) const;
};

/// `primals`: what tangents are checked against.
[[nodiscard]] Linearized linearized(Recorded recorded, const Tensors& primals);

/// Reverse over reverse. Errors: several outputs, or one that is no scalar; a gradient that is not differentiable.
[[nodiscard]] Hvp hvp_of(const Recorded& recorded, const Tensors& vectors);

/// Errors: no primal, one that is not floating, tangents whose number, shapes or types do not fit.
void check_tangents(const char* place, const Tensors& primals, const Tensors& tangents);

}  // namespace gradwise::detail
