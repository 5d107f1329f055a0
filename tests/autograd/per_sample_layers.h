// Layers of every kind, and the gradients of their samples by a loop.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv1d.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv3d.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/gru_cell.h>
#include <ATen/ops/instance_norm.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/lstm_cell.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <ostream>
#include <string>
#include <tuple>
#include <vector>

#include "gradwise/core/model.h"

namespace gradwise::per_sample_layers {

using Tensors = std::vector<at::Tensor>;
using Shapes = std::vector<std::vector<std::int64_t>>;
using Forward = std::function<at::Tensor(const Tensors& weights, const at::Tensor& x)>;

constexpr std::int64_t kSamples = 5;

inline at::Tensor doubles(at::IntArrayRef shape) { return at::randn(shape, at::kDouble); }

struct Layer {
  const char* name;
  Shapes weights;
  std::function<at::Tensor()> input;
  Forward forward;
  bool by_rules = true;
};

inline void PrintTo(const Layer& layer, std::ostream* out) { *out << layer.name; }

inline Model model_of(const Layer& layer) {
  Model model;
  for (std::size_t i = 0; i < layer.weights.size(); ++i) {
    model.parameters.add("w" + std::to_string(i), doubles(layer.weights[i]).requires_grad_());
  }
  model.forward = [forward = layer.forward, weights = model.parameters.tensors](const Batch& batch) {
    return forward(weights, batch.input);
  };
  return model;
}

// Not linear in the output, so that samples have gradients of different sizes.
inline at::Tensor mean_square(const at::Tensor& output, const at::Tensor& target) {
  return at::mse_loss(output.sin().flatten(1).sum(1), target);
}

inline at::Tensor target_of() { return doubles({kSamples}); }

// Rows of all parameters' gradients, one after the other, by a pass for each sample.
inline at::Tensor looped(const Model& model, const LossFunction& loss, const at::Tensor& x, const at::Tensor& y) {
  Tensors rows;
  for (std::int64_t k = 0; k < x.size(0); ++k) {
    const at::Tensor output = model.forward({x.narrow(0, k, 1), {}, {}});
    const Tensors gradients = torch::autograd::grad({loss(output, y.narrow(0, k, 1))}, model.parameters.tensors, {},
                                                    /*retain_graph=*/false, /*create_graph=*/false,
                                                    /*allow_unused=*/true);
    Tensors pieces;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      pieces.push_back((gradients[i].defined() ? gradients[i] : at::zeros_like(model.parameters.tensors[i])).flatten());
    }
    rows.push_back(at::cat(pieces).detach());
  }
  return at::stack(rows);
}

inline at::Tensor rows_of(const NamedParameters& gradients) {
  Tensors pieces;
  for (const at::Tensor& gradient : gradients.tensors) {
    pieces.push_back(gradient.reshape({gradient.size(0), -1}));
  }
  return at::cat(pieces, 1);
}

inline at::Tensor flat(const NamedParameters& tensors) {
  Tensors pieces;
  for (const at::Tensor& tensor : tensors.tensors) {
    pieces.push_back(tensor.flatten());
  }
  return at::cat(pieces);
}

inline ::testing::AssertionResult near(const at::Tensor& a, const at::Tensor& b, double tolerance = 1e-10) {
  if (a.sizes() != b.sizes()) {
    return ::testing::AssertionFailure() << "shapes " << a.sizes() << " and " << b.sizes();
  }
  if (a.allclose(b, tolerance, tolerance)) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "differ by " << (a - b).abs().max().item<double>() << " of "
                                       << b.abs().max().item<double>();
}

inline at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {  // (batch, time, width)
  return at::bmm(at::bmm(q, k.transpose(1, 2)).softmax(-1), v);
}

inline at::Tensor image() { return doubles({kSamples, 4, 6, 5}); }
inline at::Tensor tokens() { return at::randint(0, 7, {kSamples, 6}, at::kLong); }
inline at::Tensor sequence() { return doubles({kSamples, 3, 4}); }
inline at::Tensor rows() { return doubles({kSamples, 4}); }

inline const Layer kLayers[] = {
    {"linear", {{3, 4}, {3}}, rows, [](const Tensors& w, const at::Tensor& x) { return at::linear(x, w[0], w[1]); }},
    {"linear_without_bias", {{3, 4}}, rows, [](const Tensors& w, const at::Tensor& x) { return at::linear(x, w[0]); }},
    {"matmul", {{4, 3}}, sequence, [](const Tensors& w, const at::Tensor& x) { return x.matmul(w[0]); }},
    {"linear_on_sequences",
     {{3, 4}, {3}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) { return at::linear(x, w[0], w[1]); }},
    {"linear_on_time_major_sequences",
     {{3, 4}, {3}, {2, 3}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) {
       const at::Tensor time_major = x.transpose(0, 1).contiguous();
       return at::linear(at::linear(time_major, w[0], w[1]).tanh(), w[2]).transpose(0, 1);
     }},
    {"linear_on_long_sequences",
     {{2, 3}},
     [] { return doubles({kSamples, 9, 3}); },
     [](const Tensors& w, const at::Tensor& x) { return at::linear(x, w[0]); }},
    {"linear_on_short_sequences",
     {{9, 8}},
     [] { return doubles({kSamples, 2, 8}); },
     [](const Tensors& w, const at::Tensor& x) { return at::linear(x, w[0]); }},
    {"as_many_steps_as_samples",
     {{3, 4}, {4, 3}},
     [] { return doubles({kSamples, kSamples, 4}); },
     [](const Tensors& w, const at::Tensor& x) {
       const at::Tensor time_major = at::linear(x.transpose(0, 1).contiguous(), w[0]).tanh();
       return at::linear(time_major.transpose(0, 1).contiguous(), w[1]);
     }},
    {"shared_weight",
     {{4, 4}, {4}},
     rows,
     [](const Tensors& w, const at::Tensor& x) {
       return at::linear(at::linear(x, w[0], w[1]).tanh(), w[0].t(), w[1]);
     }},
    {"part_of_a_weight",
     {{6, 4}, {6}},
     rows,
     [](const Tensors& w, const at::Tensor& x) {
       const Tensors parts = w[0].chunk(2);
       const at::Tensor second = at::linear(x, parts[1], w[1].slice(0, 3, 6)).tanh();
       return at::linear(x, parts[0], w[1].slice(0, 0, 3)) * second;
     }},
    {"unused", {{3, 4}, {3}}, rows, [](const Tensors& w, const at::Tensor& x) { return at::linear(x, w[0]); }},
    {"conv1d",
     {{6, 2, 3}, {6}},
     [] { return doubles({kSamples, 4, 9}); },
     [](const Tensors& w, const at::Tensor& x) { return at::conv1d(x, w[0], w[1], 2, 1, 2, 2); }},
    {"conv2d",
     {{3, 4, 3, 2}, {3}},
     image,
     [](const Tensors& w, const at::Tensor& x) { return at::conv2d(x, w[0], w[1]); }},
    {"conv2d_stride_dilation_padding",
     {{3, 4, 3, 2}},
     image,
     [](const Tensors& w, const at::Tensor& x) { return at::conv2d(x, w[0], {}, {2, 1}, {2, 1}, {1, 2}); }},
    {"conv2d_groups",
     {{6, 2, 3, 3}, {6}},
     image,
     [](const Tensors& w, const at::Tensor& x) { return at::conv2d(x, w[0], w[1], 1, 1, 1, 2); }},
    {"conv2d_depthwise",
     {{4, 1, 3, 3}},
     image,
     [](const Tensors& w, const at::Tensor& x) { return at::conv2d(x, w[0], {}, 2, 1, 1, 4); }},
    {"conv2d_one_position",
     {{2, 4, 6, 5}},
     image,
     [](const Tensors& w, const at::Tensor& x) { return at::conv2d(x, w[0]); }},
    {"conv2d_on_the_steps_of_videos",
     {{2, 3, 2, 2}, {2}},
     [] { return doubles({kSamples, 4, 3, 5, 5}); },
     [](const Tensors& w, const at::Tensor& x) {
       return at::conv2d(x.flatten(0, 1), w[0], w[1], 1, 1).unflatten(0, {-1, 4});
     }},
    {"conv2d_after_conv2d",
     {{4, 4, 3, 3}, {2, 4, 1, 1}},
     image,
     [](const Tensors& w, const at::Tensor& x) { return at::conv2d(at::conv2d(x, w[0]).relu(), w[1]); }},
    {"conv3d",
     {{2, 2, 2, 3, 2}, {2}},
     [] { return doubles({kSamples, 4, 4, 5, 4}); },
     [](const Tensors& w, const at::Tensor& x) { return at::conv3d(x, w[0], w[1], {1, 2, 1}, {1, 0, 1}, 1, 2); }},
    {"conv_transpose2d",
     {{4, 3, 3, 2}, {6}},
     image,
     [](const Tensors& w, const at::Tensor& x) {
       return at::conv_transpose2d(x, w[0], w[1], {2, 1}, {1, 0}, {1, 0}, 2, {1, 2});
     }},
    {"embedding", {{7, 3}}, tokens, [](const Tensors& w, const at::Tensor& x) { return at::embedding(w[0], x); }},
    {"embedding_with_padding",
     {{7, 3}},
     tokens,
     [](const Tensors& w, const at::Tensor& x) { return at::embedding(w[0], x, 2); }},
    {"time_major_embedding",
     {{7, 3}},
     tokens,
     [](const Tensors& w, const at::Tensor& x) { return at::embedding(w[0], x.t().contiguous()).transpose(0, 1); }},
    {"tied_embedding",
     {{7, 3}},
     tokens,
     [](const Tensors& w, const at::Tensor& x) { return at::linear(at::embedding(w[0], x).tanh(), w[0]); }},
    {"learned_positions",
     {{3, 4}, {1, 3, 4}, {1, 1, 4}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) {
       return at::cat({w[2].expand({x.size(0), 1, 4}), x + w[0] - w[1]}, 1);
     }},
    {"time_major_positions",
     {{3, 1, 4}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) { return (x.transpose(0, 1) + w[0]).transpose(0, 1); }},
    {"layer_norm",
     {{4}, {4}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) { return at::layer_norm(x, {4}, w[0], w[1]); }},
    {"layer_norm_over_two",
     {{3, 4}, {3, 4}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) { return at::layer_norm(x, {3, 4}, w[0], w[1]); }},
    {"time_major_layer_norm",
     {{4}, {4}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) {
       return at::layer_norm(x.transpose(0, 1), {4}, w[0], w[1]).transpose(0, 1);
     }},
    {"rms_norm", {{4}}, sequence, [](const Tensors& w, const at::Tensor& x) { return at::rms_norm(x, {4}, w[0]); }},
    {"group_norm",
     {{4}, {4}},
     image,
     [](const Tensors& w, const at::Tensor& x) { return at::group_norm(x, 2, w[0], w[1]); }},
    {"instance_norm",
     {{4}, {4}},
     image,
     [](const Tensors& w, const at::Tensor& x) {
       return at::instance_norm(x, w[0], w[1], {}, {}, true, 0.1, 1e-5, false);
     }},
    {"batch_norm_in_evaluation",
     {{4}, {4}},
     image,
     [](const Tensors& w, const at::Tensor& x) {
       return at::batch_norm(x, w[0], w[1], at::ones({4}, at::kDouble), at::ones({4}, at::kDouble) * 2, false, 0.1,
                             1e-5, false);
     }},
    {"lstm_cell",
     {{8, 4}, {8, 2}, {8}, {8}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) {
       at::Tensor h = at::zeros({x.size(0), 2}, at::kDouble);
       at::Tensor c = h;
       for (std::int64_t t = 0; t < x.size(1); ++t) {
         std::tie(h, c) = at::lstm_cell(x.select(1, t), {h, c}, w[0], w[1], w[2], w[3]);
       }
       return h;
     }},
    {"gru_cell",
     {{6, 4}, {6, 2}, {6}, {6}, {1, 2}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) {
       at::Tensor h = w[4].expand({x.size(0), 2});
       for (std::int64_t t = 0; t < x.size(1); ++t) {
         h = at::gru_cell(x.select(1, t), h, w[0], w[1], w[2], w[3]);
       }
       return h;
     }},
    {"time_major_attention",
     {{12, 4}, {12}, {4, 4}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) {
       const Tensors parts = at::linear(x.transpose(0, 1).contiguous(), w[0], w[1]).transpose(0, 1).chunk(3, 2);
       return at::linear(attention(parts[0], parts[1], parts[2]).transpose(0, 1).contiguous(), w[2]).transpose(0, 1);
     }},
    {"attention_with_split_weight",
     {{12, 4}, {4, 4}},
     sequence,
     [](const Tensors& w, const at::Tensor& x) {
       const Tensors parts = w[0].chunk(3);
       return at::linear(attention(at::linear(x, parts[0]), at::linear(x, parts[1]), at::linear(x, parts[2])), w[1]);
     }},
    {"function_of_a_weight",
     {{3, 4}, {}},
     rows,
     [](const Tensors& w, const at::Tensor& x) { return at::linear(x, w[0]) * w[1].exp(); },
     false},
    {"samples_that_mix",
     {{3, 4}},
     rows,
     [](const Tensors& w, const at::Tensor& x) {
       const at::Tensor out = at::linear(x, w[0]);
       return out * (out - out.mean(0)).cos();
     },
     false},
    {"inputs_that_mix",
     {{3, 4}},
     rows,
     [](const Tensors& w, const at::Tensor& x) { return at::linear(x - x.mean(0) + 1, w[0]); },
     false},
};

}  // namespace gradwise::per_sample_layers
