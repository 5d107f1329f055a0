#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/core/element.h"

/// Tensors as the kernels see them: memory and the type of its elements.
namespace gradwise {

/// Whether the kernels can work on a tensor where it lies: on the CPU, in a floating type that they know.
[[nodiscard]] inline bool kernels_read(const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  return tensor.is_cpu() && (type == at::kFloat || type == at::kDouble || type == at::kHalf || type == at::kBFloat16);
}

/// Of a tensor that `kernels_read` takes.
[[nodiscard]] inline Element element_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kDouble:
      return Element::float64;
    case at::kHalf:
      return Element::float16;
    case at::kBFloat16:
      return Element::bfloat16;
    default:
      return Element::float32;
  }
}

/// The stored elements in one piece of memory, in any order: a sparse tensor's values, each index once. Copies only
/// what is sparse or does not fill its memory.
[[nodiscard]] inline at::Tensor in_one_piece(const at::Tensor& tensor) {
  const at::Tensor values = tensor.is_sparse() ? tensor.coalesce()._values() : tensor;
  return values.is_non_overlapping_and_dense() ? values : values.contiguous();
}

}  // namespace gradwise
