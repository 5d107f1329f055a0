#pragma once

#include <optional>

#include "gradwise/autograd/transforms/vjp.h"

namespace gradwise {

enum class JacobianMode {
  automatic,  ///< forward where there are fewer inputs than outputs, else reverse
  reverse,    ///< one backward pass an output element
  forward     ///< one forward pass an input element
};

struct JacobianOptions {
  std::vector<std::int64_t> argnums = {0};
  std::int64_t aux = 0;
  JacobianMode mode = JacobianMode::automatic;
  std::optional<std::int64_t> chunk_size = {};  ///< rows (columns) that are computed at once
  std::int64_t memory_bound = 0;  ///< bytes that a chunk may take beside the result, measured on one row; 0: no bound
};

/// The Jacobian of `function` (`torch.func.jacrev`, `jacfwd`): for each output and each of `argnums` a tensor of the
/// output's shape followed by the argument's, in the order (output 0, argnums...), (output 1, ...), and then the aux
/// results. Rows are computed together by vmap, in chunks; where an operator can't be (a backward of the user's own
/// that reads values), one by one. Nests with itself and the other transforms.
[[nodiscard]] TensorFunction jacobian(TensorFunction function, JacobianOptions options = {});

/// The Hessian of a scalar function: for each pair of `argnums` a tensor of the first's shape followed by the second's,
/// row by row (`torch.func.hessian`). Rows are backward passes through one gradient whose graph is kept.
[[nodiscard]] TensorFunction hessian(TensorFunction function, JacobianOptions options = {});

}  // namespace gradwise
