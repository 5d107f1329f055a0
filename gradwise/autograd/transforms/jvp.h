#pragma once

#include <string>

#include "gradwise/autograd/transforms/vjp.h"

namespace gradwise {

struct Jvp {
  Tensors outputs;
  Tensors tangents;  ///< of the outputs
  Tensors aux;
  bool forward_mode = true;  ///< false: an operator has no forward derivative, and two backward passes made them
  std::string fallback_reason = {};  ///< what says so where forward_mode is false; empty for closures
};

/// Jacobian-vector products of `function` at `primals` (`torch.func.jvp`): forward mode.
///
/// Where something in the function has no forward derivative (a `torch::autograd::Function` of the user's own: LibTorch
/// gives them none), the product is made by two backward passes instead, which costs more memory, and `forward_mode`
/// says so; inside of another transform that is an error of LibTorch's. Gradwise's own functions run as the operators
/// that they are composed of.
///
/// Errors: tangents whose number, shapes or types do not fit; no output; an output that is not floating; of the two
/// backward passes, a function whose gradients are not differentiable, or whose backward is not linear in what arrives,
/// as where it detaches that.
[[nodiscard]] Jvp jvp(const TensorFunction& function, const Tensors& primals, const Tensors& tangents,
                      std::int64_t aux = 0);

struct Linearized {
  Tensors outputs;
  /// Tangents of the outputs from those of the primals, without running the function again.
  TensorFunction jvp;
  Tensors aux;
};

/// The function's outputs at `primals` and its derivative there as a function (`torch.func.linearize`): for products
/// with many vectors. It keeps the graph of the function and that of its gradient. Inside of a transform (`vmap`,
/// `jvp`) the derivative is `jvp`, which runs the function with each product.
///
/// Errors: no function; no primal; an output or a primal that is not floating; those of the two backward passes of
/// `jvp`; of the derivative: tangents whose number, shapes or types do not fit.
[[nodiscard]] Linearized linearize(const TensorFunction& function, const Tensors& primals, std::int64_t aux = 0);

/// How a second derivative is made.
enum class HvpMode {
  reverse_over_reverse,  ///< backward through the gradient
  forward_over_reverse   ///< the tangent of the gradient
};

struct Hvp {
  at::Tensor value;
  Tensors gradients;
  Tensors products;           ///< one a primal
  bool forward_mode = false;  ///< the products are tangents; forward_over_reverse falls back as jvp does
  Tensors aux = {};
};

/// The product of the Hessian of a scalar function with `vectors`, one a primal; the last `aux` results are handed on.
/// Differentiable by the primals and the vectors.
///
/// Errors: vectors whose number, shapes or types do not fit their primals; several outputs, or one that is no scalar; a
/// function of the user's own whose gradients are not differentiable (Python's @once_differentiable, say), by name.
[[nodiscard]] Hvp hvp(const TensorFunction& function, const Tensors& primals, const Tensors& vectors,
                      HvpMode mode = HvpMode::reverse_over_reverse, std::int64_t aux = 0);

}  // namespace gradwise
