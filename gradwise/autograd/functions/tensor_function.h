#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace gradwise {

using Tensors = std::vector<at::Tensor>;

/// A function of several tensors with several results: what checks and transforms take.
using TensorFunction = std::function<Tensors(const Tensors&)>;

}  // namespace gradwise
