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

/// Lays a convolution's weights out with the channels last, for which the CPU's kernels are twice as fast.
template <class Convolution>
Convolution channels_last(Convolution layer) {
  layer->weight.set_data(layer->weight.contiguous(at::MemoryFormat::ChannelsLast));
  return layer;
}

/// Throws unless samples are images (C, H, W).
inline void require_images(const std::vector<std::int64_t>& sample, const char* model) {
  GRADWISE_CHECK(sample.size() == 3, "model", "\"", model, "\" needs images (C, H, W), a sample has ", sample.size(),
                 " dimensions");
}

}  // namespace gradwise
