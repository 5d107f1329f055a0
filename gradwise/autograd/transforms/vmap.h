#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "gradwise/autograd/transforms/layer.h"

namespace gradwise {

/// Names, order and meaning of `torch.func.vmap`.
struct VmapOptions {
  /// The dimension of each argument that is gone over; nullopt: the argument is the same for all. Empty: 0 for all.
  std::vector<std::optional<std::int64_t>> in_dims = {};
  /// Where each result gets the dimension; one value for all results, or one each.
  std::vector<std::int64_t> out_dims = {0};
  Randomness randomness = Randomness::error;
  std::optional<std::int64_t> chunk_size = {};  ///< how many are computed at once; all where it is not given
};

/// `function` applied to every slice of its arguments at once (`torch.func.vmap`), by operators over the whole batch:
/// inside of it the dimension is not there. Nests, and composes with the other transforms.
///
///   const TensorFunction dots = vmap([](const Tensors& in) { return Tensors{in[0].dot(in[1])}; });
///   dots({a, b});  // (N, D), (N, D) -> (N)
///
/// Errors: no argument that is gone over, a dimension that an argument lacks, sizes that differ; of LibTorch: a value
/// read out of a hidden dimension (`item`), a function with a backward of its own in C++.
[[nodiscard]] TensorFunction vmap(TensorFunction function, VmapOptions options = {});

}  // namespace gradwise
