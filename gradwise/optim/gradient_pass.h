#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gradwise/kernels/moments.h"
#include "gradwise/optim/piece_work.h"

namespace gradwise {

/// Reads gradients on the host in one parallel pass. Its figures have the bits of those that a Watch reads during the
/// backward pass. An object serves one thread at a time.
class GradientPass {
 public:
  /// Whether it reads all of these: on the CPU, in a floating type of 16, 32 or 64 bits.
  [[nodiscard]] static bool reads(const std::vector<at::Tensor>& gradients);

  /// The global L2 norm, summed in double; NaN where an element is not finite. Allocates only where a gradient is
  /// sparse or does not fill its memory.
  [[nodiscard]] double norm(const std::vector<at::Tensor>& gradients);

 private:
  struct Part {
    const std::byte* data = nullptr;
    std::int64_t count = 0;
    Element element = Element::float32;
    bool found = false;
  };

  [[nodiscard]] static Part part_of(const at::Tensor& values);
  void look(const std::vector<at::Tensor>& gradients);

  PieceWork work_;
  std::vector<Part> parts_;              // by gradient
  std::vector<at::Tensor> copies_;       // of those that are sparse or do not fill their memory
  std::vector<kernels::Moments> found_;  // by piece
};

}  // namespace gradwise
