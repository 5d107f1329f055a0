#pragma once

#include <ATen/core/Tensor.h>

namespace gradwise {

/// The tensor as LibTorch's matrix products take it: of autocast's type where that is on for the tensor's device (not
/// of float64, and with autocast's cache), else itself. Differentiable.
[[nodiscard]] at::Tensor autocast_input(const at::Tensor& tensor);

}  // namespace gradwise
