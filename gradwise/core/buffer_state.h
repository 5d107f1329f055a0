#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "gradwise/core/named_parameters.h"

namespace gradwise {

/// Gives buffers their values back at the end of a scope: a forward pass moves the statistics of batch norm, and one
/// over a bad batch spoils them. Graphs that have saved a buffer can still be gone through.
class BufferStateGuard {
 public:
  explicit BufferStateGuard(const NamedParameters& buffers) : buffers_(buffers.tensors) {
    copies_.reserve(buffers_.size());
    for (const at::Tensor& buffer : buffers_) {
      copies_.push_back(buffer.detach().clone());
    }
  }
  ~BufferStateGuard() {
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      buffers_[i].data().copy_(copies_[i]);  // of the memory alone: graphs count no change
    }
  }
  BufferStateGuard(const BufferStateGuard&) = delete;
  BufferStateGuard& operator=(const BufferStateGuard&) = delete;

 private:
  std::vector<at::Tensor> buffers_;
  std::vector<at::Tensor> copies_;
};

}  // namespace gradwise
