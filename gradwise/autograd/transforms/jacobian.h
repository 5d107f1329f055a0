#pragma once

#include <optional>

#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/autograd/transforms/vjp.h"

namespace gradwise {

enum class JacobianMode {
  automatic,  ///< forward where there are fewer inputs than outputs and no input is empty, else reverse
  reverse,    ///< one backward pass an output element
  forward     ///< one forward pass an input element
};

struct JacobianOptions {
  std::vector<std::int64_t> argnums = {0};  ///< as in TransformOptions
  std::int64_t aux = 0;                     ///< as in TransformOptions
  JacobianMode mode = JacobianMode::automatic;
  std::optional<std::int64_t> chunk_size = {};  ///< rows (columns) that are computed at once
  std::int64_t memory_bound = 0;  ///< bytes that a chunk may take beside the result, measured on one row; 0: no bound
  Randomness randomness = Randomness::same;  ///< of forward mode: whether what is random differs between columns
};

/// The Jacobian of `function` (`torch.func.jacrev`, `torch.func.jacfwd`): for each output and each of `argnums` a
/// tensor of the output's shape followed by the argument's. Rows are computed together by vmap, in chunks; where an
/// operator can't be (a backward of the user's own that reads values), one by one. Nests with itself and the other
/// transforms.
///
/// The order is (output 0, argnums...), (output 1, ...), and then the aux results.
///
/// Errors: no function, a chunk_size below 1, a negative memory_bound; when it is called, argnums that the function
/// lacks, an argument or an output that is not floating, and in forward mode an argument without elements.
[[nodiscard]] TensorFunction jacobian(TensorFunction function, JacobianOptions options = {});

struct HessianOptions {
  std::vector<std::int64_t> argnums = {0};      ///< as in TransformOptions
  std::int64_t aux = 0;                         ///< as in TransformOptions
  std::optional<std::int64_t> chunk_size = {};  ///< as in JacobianOptions
  std::int64_t memory_bound = 0;                ///< as in JacobianOptions
};

/// The Hessian of a scalar function (`torch.func.hessian`): for each pair of `argnums` a tensor of the first's shape
/// followed by the second's.
///
/// They stand row by row, and then the aux results. Rows are backward passes through one gradient whose graph is kept.
/// Errors: as jacobian; several outputs, or one that is no scalar; a function whose gradients are not differentiable,
/// as of hvp.
[[nodiscard]] TensorFunction hessian(TensorFunction function, HessianOptions options = {});

}  // namespace gradwise
