#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "gradwise/autograd/functions/tensor_function.h"

namespace gradwise {

/// In place of a number of aux results, for functions that alone know it: the aux results are those behind an undefined
/// tensor, which stands among the results as a mark.
inline constexpr std::int64_t kMarkedAux = -1;

/// What a transform differentiates. Names as in `torch.func`.
struct TransformOptions {
  std::vector<std::int64_t> argnums = {0};  ///< the arguments that count; negative ones from the end
  std::int64_t aux = 0;  ///< how many of the last results are handed on and not differentiated; or kMarkedAux
};

struct Vjp {
  Tensors outputs;
  Tensors aux;
  /// Gradients of every primal from the gradients of the outputs; may be called again and again, and differentiated.
  std::function<Tensors(const Tensors& cotangents)> pull_back;
};

/// Vector-Jacobian products of `function` at `primals` (`torch.func.vjp`). Functions with a backward of their own work,
/// except inside of another transform of this kind.
///
/// The last `aux` results are not differentiated.
///
/// Errors: no primal; no output; an output or an input that is not floating; cotangents whose number or shapes do not
/// fit.
[[nodiscard]] Vjp vjp(const TensorFunction& function, const Tensors& primals, std::int64_t aux = 0);

struct ValueAndGrad {
  at::Tensor value;   ///< a scalar
  Tensors gradients;  ///< one for each of `argnums`
  Tensors aux;
};

/// Value and gradients of a function whose first result is a scalar (`torch.func.grad_and_value`).
///
/// Errors, when it is called: argnums that the function lacks or that come twice, an argument that is not floating, an
/// output that is no scalar.
[[nodiscard]] std::function<ValueAndGrad(const Tensors&)> value_and_grad(TensorFunction function,
                                                                         TransformOptions options = {});

/// Gradients of a function whose first result is a scalar (`torch.func.grad`). Nests to any order: grad(grad(f)) is the
/// second derivative.
///
/// The `aux` results stand behind the gradients. Errors: those of value_and_grad.
[[nodiscard]] TensorFunction grad(TensorFunction function, TransformOptions options = {});

}  // namespace gradwise
