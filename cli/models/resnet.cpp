#include <torch/nn/init.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>

#include "cli/models/layers.h"
#include "cli/models/model_factory.h"
#include "gradwise/adapters/nn_module.h"

namespace gradwise {
namespace {

namespace nn = torch::nn;

nn::Conv2d convolution(std::int64_t from, std::int64_t to, std::int64_t kernel, std::int64_t stride,
                       at::MemoryFormat format) {
  nn::Conv2d layer(nn::Conv2dOptions(from, to, kernel).stride(stride).padding(kernel / 2).bias(false));
  nn::init::kaiming_normal_(layer->weight, 0, torch::kFanOut, torch::kReLU);
  return laid_out(layer, format);
}

// The basic block of He et al. 2016 (figure 2): two 3x3 convolutions beside a shortcut.
struct BlockImpl : nn::Module {
  BlockImpl(std::int64_t from, std::int64_t to, std::int64_t stride, at::MemoryFormat format)
      : conv1(register_module("conv1", convolution(from, to, 3, stride, format))),
        norm1(register_module("norm1", nn::BatchNorm2d(to))),
        conv2(register_module("conv2", convolution(to, to, 3, 1, format))),
        norm2(register_module("norm2", nn::BatchNorm2d(to))) {
    if (stride != 1 || from != to) {
      shortcut = register_module("shortcut", convolution(from, to, 1, stride, format));
      shortcut_norm = register_module("shortcut_norm", nn::BatchNorm2d(to));
    }
  }

  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor inner = norm2(conv2(torch::relu(norm1(conv1(x)))));
    return torch::relu(inner + (shortcut ? shortcut_norm(shortcut(x)) : x));
  }

  nn::Conv2d conv1;
  nn::BatchNorm2d norm1;
  nn::Conv2d conv2;
  nn::BatchNorm2d norm2;
  nn::Conv2d shortcut{nullptr};
  nn::BatchNorm2d shortcut_norm{nullptr};
};
TORCH_MODULE(Block);

// Three stages of `depth` blocks, as He et al. 2016 use for small images (section 4.2): 6 * depth + 2 layers.
struct ResNet : nn::Module {
  ResNet(const ModelOptions& options, const ModelShape& shape)
      : format(image_format(options.width)),
        stem(register_module("stem", convolution(shape.sample[0], options.width, 3, 1, format))),
        stem_norm(register_module("stem_norm", nn::BatchNorm2d(options.width))) {
    std::int64_t channels = options.width;
    for (std::int64_t stage = 0; stage < 3; ++stage) {
      for (std::int64_t i = 0; i < options.depth; ++i) {
        const bool shrink = stage > 0 && i == 0;
        const std::int64_t next = shrink ? channels * 2 : channels;
        const std::string name = "stage" + std::to_string(stage + 1) + "_block" + std::to_string(i + 1);
        blocks.push_back(register_module(name, Block(channels, next, shrink ? 2 : 1, format)));
        channels = next;
      }
    }
    head = register_module("head", nn::Linear(channels, shape.outputs));
  }

  torch::Tensor forward(const torch::Tensor& input) {
    torch::Tensor x = torch::relu(stem_norm(stem(input.contiguous(format))));
    for (Block& block : blocks) {
      x = block(x);
    }
    return head(x.mean({2, 3}));
  }

  at::MemoryFormat format;
  nn::Conv2d stem;
  nn::BatchNorm2d stem_norm;
  std::vector<Block> blocks;
  nn::Linear head{nullptr};
};

}  // namespace

Model build_resnet(const ModelOptions& options, const ModelShape& shape) {
  require_images(shape.sample, "resnet");
  return adapt(std::make_shared<ResNet>(options, shape));
}

}  // namespace gradwise
