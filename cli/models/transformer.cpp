#include <torch/nn/init.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/normalization.h>

#include <cmath>

#include "cli/models/layers.h"
#include "cli/models/model_factory.h"
#include "gradwise/adapters/nn_module.h"

namespace gradwise {
namespace {

namespace nn = torch::nn;

// Weights as GPT-2 starts them (Radford et al. 2019, section 2.3): the projections into the residual stream smaller by
// the root of the number of residual layers.
nn::Linear linear(std::int64_t inputs, std::int64_t outputs, double scale = 1) {
  nn::Linear layer(inputs, outputs);
  nn::init::normal_(layer->weight, 0, 0.02 * scale);
  nn::init::zeros_(layer->bias);
  return layer;
}

// A pre-norm block: causal self-attention, then a two-layer network of four times the width.
struct LayerImpl : nn::Module {
  LayerImpl(std::int64_t width, std::int64_t head_count, double dropout_rate, double scale)
      : heads(head_count),
        dropout(dropout_rate),
        norm1(register_module("norm1", nn::LayerNorm(nn::LayerNormOptions({width})))),
        qkv(register_module("qkv", linear(width, 3 * width))),
        out(register_module("out", linear(width, width, scale))),
        norm2(register_module("norm2", nn::LayerNorm(nn::LayerNormOptions({width})))),
        up(register_module("up", linear(width, 4 * width))),
        down(register_module("down", linear(4 * width, width, scale))) {}

  torch::Tensor attend(const torch::Tensor& x) {
    const std::int64_t batch = x.size(0);
    const std::int64_t length = x.size(1);
    const std::int64_t width = x.size(2);
    const auto parts = qkv(x).view({batch, length, 3, heads, width / heads}).permute({2, 0, 3, 1, 4}).unbind(0);
    const torch::Tensor mixed = torch::scaled_dot_product_attention(parts[0], parts[1], parts[2], /*attn_mask=*/{},
                                                                    is_training() ? dropout : 0, /*is_causal=*/true);
    return out(mixed.transpose(1, 2).reshape({batch, length, width}));
  }

  torch::Tensor forward(const torch::Tensor& input) {
    const torch::Tensor x = input + torch::dropout(attend(norm1(input)), dropout, is_training());
    return x + torch::dropout(down(torch::gelu(up(norm2(x)))), dropout, is_training());
  }

  std::int64_t heads;
  double dropout;
  nn::LayerNorm norm1;
  nn::Linear qkv, out;
  nn::LayerNorm norm2;
  nn::Linear up, down;
};
TORCH_MODULE(Layer);

// A decoder-only language model over tokens (B, T); logits (B, V, T), classes along dimension 1 as LibTorch has them.
struct Transformer : nn::Module {
  Transformer(const ModelOptions& options, const ModelShape& shape)
      : dropout(options.dropout),
        tokens(register_module("tokens", nn::Embedding(shape.outputs, options.width))),
        positions(register_module("positions", nn::Embedding(shape.sample[0], options.width))),
        norm(register_module("norm", nn::LayerNorm(nn::LayerNormOptions({options.width})))) {
    nn::init::normal_(tokens->weight, 0, 0.02);
    nn::init::normal_(positions->weight, 0, 0.02);
    const double scale = 1.0 / std::sqrt(2.0 * static_cast<double>(options.depth));
    for (std::int64_t i = 0; i < options.depth; ++i) {
      Layer layer(options.width, options.heads, options.dropout, scale);
      layers.push_back(register_module("layer" + std::to_string(i + 1), std::move(layer)));
    }
    head = register_module("head", linear(options.width, shape.outputs));
  }

  torch::Tensor forward(const torch::Tensor& input) {
    const torch::Tensor places = torch::arange(input.size(1), input.options());
    torch::Tensor x = torch::dropout(tokens(input) + positions(places), dropout, is_training());
    for (Layer& layer : layers) {
      x = layer(x);
    }
    return head(norm(x)).transpose(1, 2);
  }

  double dropout;
  nn::Embedding tokens, positions;
  std::vector<Layer> layers;
  nn::LayerNorm norm;
  nn::Linear head{nullptr};
};

}  // namespace

Model build_transformer(const ModelOptions& options, const ModelShape& shape) {
  GRADWISE_CHECK(shape.sample.size() == 1, "model", "\"transformer\" needs tokens (T), a sample has ",
                 shape.sample.size(), " dimensions");
  GRADWISE_CHECK(options.width % options.heads == 0, "model", "width is ", options.width,
                 ", allowed: a multiple of heads (", options.heads, ")");
  return adapt(std::make_shared<Transformer>(options, shape));
}

}  // namespace gradwise
