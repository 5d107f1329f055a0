#pragma once

#include <torch/nn/functional/activation.h>

#include <string>
#include <vector>

#include "gradwise/core/error.h"

namespace gradwise {

/// The nonlinearity of a name that ModelOptions allows.
inline torch::Tensor activate(const torch::Tensor& x, const std::string& name) {
  if (name == "gelu") {
    return torch::gelu(x);
  }
  if (name == "tanh") {
    return torch::tanh(x);
  }
  return name == "sigmoid" ? torch::sigmoid(x) : torch::relu(x);
}

/// Channels last, for which the CPU's kernels are twice as fast; but LibTorch 2.13 writes past its buffers in the
/// backward of some convolutions with two to seven channels in that format.
inline at::MemoryFormat image_format(std::int64_t fewest_channels) {
  return fewest_channels >= 8 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
}

/// Lays a convolution's weights out in a format.
template <class Convolution>
Convolution laid_out(Convolution layer, at::MemoryFormat format) {
  layer->weight.set_data(layer->weight.contiguous(format));
  return layer;
}

/// Throws unless samples are images (C, H, W).
inline void require_images(const std::vector<std::int64_t>& sample, const char* model) {
  GRADWISE_CHECK(sample.size() == 3, "model", "\"", model, "\" needs images (C, H, W), a sample has ", sample.size(),
                 " dimensions");
}

}  // namespace gradwise
