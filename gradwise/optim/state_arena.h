#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <cstdint>

namespace gradwise {

/// Zeroed memory that is handed out as tensors, one after the other and aligned to 64 bytes. It lives as long as one of
/// them.
class StateArena {
 public:
  /// Elements of memory that a tensor of `numel` elements takes.
  [[nodiscard]] static std::int64_t padded(std::int64_t numel) { return (numel + 31) / 32 * 32; }

  StateArena() = default;
  StateArena(std::int64_t elements, const at::TensorOptions& options) : memory_(at::zeros({elements}, options)) {}

  /// A tensor of the shape and strides of `like`, which fills its memory; there must be `padded(numel)` elements left.
  [[nodiscard]] at::Tensor take(const at::Tensor& like) {
    const at::Tensor view = memory_.as_strided(like.sizes(), like.strides(), used_);
    used_ += padded(like.numel());
    return view;
  }

 private:
  at::Tensor memory_;
  std::int64_t used_ = 0;
};

}  // namespace gradwise
