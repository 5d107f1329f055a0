#pragma once

#include <ATen/core/Tensor.h>

namespace gradwise {

/// A CPU tensor with uninitialised elements. Runs no operator: it may be called from the loader's thread without
/// starting ATen's thread pool there (which `at::empty` does in deterministic mode, to fill).
[[nodiscard]] at::Tensor new_tensor(at::IntArrayRef shape, at::ScalarType dtype);

/// Makes `tensor` a contiguous CPU tensor of this shape and type: itself where it is one, else a new one.
void ensure_tensor(at::Tensor& tensor, at::IntArrayRef shape, at::ScalarType dtype);

}  // namespace gradwise
