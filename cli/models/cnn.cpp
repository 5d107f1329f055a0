#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include <algorithm>

#include "cli/models/layers.h"
#include "cli/models/model_factory.h"
#include "gradwise/adapters/nn_module.h"

namespace gradwise {
namespace {

namespace nn = torch::nn;

// 3x3 convolutions, each with 2x2 max-pooling, then fully connected layers.
struct Cnn : nn::Module {
  Cnn(const ModelOptions& options, const ModelShape& shape)
      : activation(options.activation),
        dropout(options.dropout),
        format(image_format(std::ranges::min(options.channels))) {
    std::int64_t channels = shape.sample[0];
    std::int64_t height = shape.sample[1];
    std::int64_t width = shape.sample[2];
    for (const std::int64_t next : options.channels) {
      add_convolution(channels, next, options.batch_norm);
      channels = next;
      height /= 2;
      width /= 2;
    }
    GRADWISE_CHECK(height > 0 && width > 0, "model", "channels has ", options.channels.size(),
                   " entries, which pool images of ", shape.sample[1], " x ", shape.sample[2], " away");
    std::int64_t inputs = channels * height * width;
    for (const std::int64_t units : options.hidden) {
      add_linear(inputs, units);
      inputs = units;
    }
    add_linear(inputs, shape.outputs);
  }

  void add_convolution(std::int64_t from, std::int64_t to, bool normalise) {
    const std::string number = std::to_string(convolutions.size() + 1);
    auto options = nn::Conv2dOptions(from, to, 3).padding(1).bias(!normalise);
    convolutions.push_back(register_module("conv" + number, laid_out(nn::Conv2d(options), format)));
    if (normalise) {
      norms.push_back(register_module("norm" + number, nn::BatchNorm2d(to)));
    }
  }

  void add_linear(std::int64_t inputs, std::int64_t outputs) {
    linears.push_back(register_module("linear" + std::to_string(linears.size() + 1), nn::Linear(inputs, outputs)));
  }

  torch::Tensor forward(const torch::Tensor& input) {
    torch::Tensor x = input.contiguous(format);
    for (std::size_t i = 0; i < convolutions.size(); ++i) {
      x = convolutions[i](x);
      if (!norms.empty()) {
        x = norms[i](x);
      }
      // Pooling first gives the same result for a monotone nonlinearity, at a quarter of its cost.
      x = activation == "gelu" ? torch::max_pool2d(activate(x, activation), 2)
                               : activate(torch::max_pool2d(x, 2), activation);
    }
    x = x.flatten(1);
    for (std::size_t i = 0; i + 1 < linears.size(); ++i) {
      x = torch::dropout(activate(linears[i](x), activation), dropout, is_training());
    }
    return linears.back()(x);
  }

  std::string activation;
  double dropout;
  at::MemoryFormat format;
  std::vector<nn::Conv2d> convolutions;
  std::vector<nn::BatchNorm2d> norms;
  std::vector<nn::Linear> linears;
};

}  // namespace

Model build_cnn(const ModelOptions& options, const ModelShape& shape) {
  require_images(shape.sample, "cnn");
  GRADWISE_CHECK(!options.channels.empty(), "model", "channels is empty, allowed: at least one convolution");
  return adapt(std::make_shared<Cnn>(options, shape));
}

}  // namespace gradwise
