#include "benchmarks/diagnosis/network.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <utility>
#include <vector>

namespace gradwise::bench {
namespace {

// Small first outputs, so that the first loss is that of a guess.
constexpr double kHeadGain = 0.3;

// The layers of a network under construction, and the forward pass over them.
class Network {
 public:
  explicit Network(NetworkOptions options) : options_(std::move(options)) {}

  // He's initialisation before ReLU, Xavier's otherwise; the fault's changes on top.
  at::Tensor weight(const std::string& name, std::vector<std::int64_t> shape, double gain = 1) {
    double fan_in = 1;
    for (std::size_t d = 1; d < shape.size(); ++d) {
      fan_in *= static_cast<double>(shape[d]);
    }
    const double usual = options_.activation == "relu" ? 2 : 1;
    at::Tensor value = at::randn(shape).mul(std::sqrt(usual / fan_in) * gain * options_.gain);
    if (options_.constant >= 0) {
      value.fill_(options_.constant);
    }
    return add(name + ".weight", value);
  }
  at::Tensor bias(const std::string& name, std::int64_t size, double value = 0) {
    return add(name + ".bias", at::zeros({size}).add(value));
  }
  at::Tensor add(const std::string& name, const at::Tensor& value) {
    at::Tensor leaf = value.detach().clone().set_requires_grad(layers_made_ >= options_.frozen);
    model.parameters.add(name, leaf);
    return leaf;
  }
  void end_layer() { ++layers_made_; }

  [[nodiscard]] at::Tensor act(const at::Tensor& x) const {
    return options_.activation == "relu"      ? x.relu()
           : options_.activation == "tanh"    ? x.tanh()
           : options_.activation == "sigmoid" ? x.sigmoid()
                                              : x;
  }
  // What stands behind layer `index` whatever it is: where a fault cuts or breaks the pass.
  [[nodiscard]] at::Tensor behind(std::int64_t index, const at::Tensor& x) const {
    if (index == options_.detached_after) {
      return x.detach();
    }
    if (index == options_.broken_layer && *passes >= options_.broken_from) {
      return x.add(at::log(x.sub(x.max())).mul(0));  // the logarithm of negative numbers
    }
    return x;
  }
  [[nodiscard]] at::Tensor finish(const at::Tensor& scores) const {
    return options_.output == "softmax"   ? at::softmax(scores, -1)
           : options_.output == "sigmoid" ? scores.sigmoid()
           : options_.output == "relu"    ? scores.relu()
                                          : scores;
  }
  [[nodiscard]] const NetworkOptions& options() const { return options_; }

  Model model;
  std::shared_ptr<std::int64_t> passes = std::make_shared<std::int64_t>(0);

 private:
  NetworkOptions options_;
  std::int64_t layers_made_ = 0;
};

using Shared = std::shared_ptr<Network>;

struct Linear {
  at::Tensor weight;
  at::Tensor bias;
  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const { return at::linear(x, weight, bias); }
};

Linear linear(Network& net, const std::string& name, std::int64_t in, std::int64_t out, double bias = 0,
              double gain = 1) {
  Linear layer{net.weight(name, {out, in}, gain), net.bias(name, out, bias)};
  net.end_layer();
  return layer;
}

std::string name_of(std::int64_t layer) { return "layer" + std::to_string(layer); }

void set_forward(const Shared& net, std::function<at::Tensor(const at::Tensor&)> body) {
  net->model.forward = [net, body = std::move(body)](const Batch& batch) {
    const at::Tensor scores = net->finish(body(batch.input));
    ++*net->passes;
    return scores;
  };
}

void make_mlp(const Shared& net, const Scenario& s, std::int64_t inputs, std::int64_t outputs) {
  std::vector<Linear> layers;
  for (std::int64_t i = 0; i < s.depth; ++i) {
    layers.push_back(linear(*net, name_of(i), i == 0 ? inputs : s.width, s.width, net->options().bias));
  }
  const Linear head = linear(*net, "head", s.width, outputs, 0, kHeadGain);
  set_forward(net, [net = net.get(), layers, head](const at::Tensor& input) {
    at::Tensor x = input.flatten(1);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      x = net->behind(static_cast<std::int64_t>(i), net->act(layers[i](x)));
    }
    return head(x);
  });
}

// Blocks x + W2 act(W1 norm(x)).
void make_residual(const Shared& net, const Scenario& s, std::int64_t inputs, std::int64_t outputs) {
  struct Block {
    at::Tensor gain, shift;
    Linear in, out;
  };
  const Linear stem = linear(*net, name_of(0), inputs, s.width, net->options().bias);
  std::vector<Block> blocks;
  for (std::int64_t i = 1; i <= s.depth; ++i) {
    const std::string name = name_of(i);
    Block block;
    block.gain = net->add(name + ".norm.weight", at::ones({s.width}));
    block.shift = net->add(name + ".norm.bias", at::zeros({s.width}));
    block.in = linear(*net, name + ".in", s.width, s.width, net->options().bias);
    block.out = linear(*net, name + ".out", s.width, s.width, 0, 0.3);
    blocks.push_back(block);
  }
  const Linear head = linear(*net, "head", s.width, outputs, 0, kHeadGain);
  set_forward(net, [net = net.get(), stem, blocks, head, width = s.width](const at::Tensor& input) {
    at::Tensor x = net->behind(0, stem(input.flatten(1)));
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const at::Tensor normed = at::layer_norm(x, {width}, blocks[i].gain, blocks[i].shift);
      x = net->behind(static_cast<std::int64_t>(i) + 1, x.add(blocks[i].out(net->act(blocks[i].in(normed)))));
    }
    return head(x);
  });
}

void make_cnn(const Shared& net, const Scenario& s, std::int64_t outputs) {
  struct Layer {
    at::Tensor weight, bias, gain, shift, mean, variance;
  };
  std::vector<Layer> layers;
  std::int64_t channels = 1;
  std::int64_t side = 28;
  for (std::int64_t i = 0; i < 2; ++i) {
    const std::int64_t out = s.width / 4 * (i + 1);
    Layer layer;
    layer.weight = net->weight(name_of(i), {out, channels, 3, 3});
    layer.bias = net->bias(name_of(i), out, net->options().bias);
    if (net->options().batch_norm) {
      layer.gain = net->add(name_of(i) + ".norm.weight", at::ones({out}));
      layer.shift = net->add(name_of(i) + ".norm.bias", at::zeros({out}));
      layer.mean = at::zeros({out});
      layer.variance = at::ones({out});
      net->model.buffers.add(name_of(i) + ".norm.running_mean", layer.mean);
      net->model.buffers.add(name_of(i) + ".norm.running_var", layer.variance);
    }
    net->end_layer();
    layers.push_back(layer);
    channels = out;
    side /= 2;
  }
  const Linear head = linear(*net, "head", channels * side * side, outputs, 0, kHeadGain);
  auto training = std::make_shared<bool>(true);
  net->model.set_training = [training](bool mode) { *training = mode; };
  net->model.is_training = [training] { return *training; };
  set_forward(net, [net = net.get(), layers, head, training](const at::Tensor& input) {
    at::Tensor x = input;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      x = at::conv2d(x, layers[i].weight, layers[i].bias, 1, 1);
      if (layers[i].gain.defined()) {
        x = at::batch_norm(x, layers[i].gain, layers[i].shift, layers[i].mean, layers[i].variance,
                           *training && !net->options().evaluated, 0.1, 1e-5, false);
      }
      x = net->behind(static_cast<std::int64_t>(i), at::max_pool2d(net->act(x), 2));
    }
    return head(x.flatten(1));
  });
}

// h = tanh(U x_t + W h + b) over the rows of an image, or the numbers of a row.
void make_recurrent(const Shared& net, const Scenario& s, const std::vector<std::int64_t>& sample,
                    std::int64_t outputs) {
  const std::int64_t features = sample.size() == 3 ? sample[2] : 1;
  const Linear in = linear(*net, name_of(0), features, s.width, net->options().bias);
  at::Tensor across = net->weight("recurrent", {s.width, s.width}, 0.8 * net->options().recurrent_gain);
  net->end_layer();
  const Linear head = linear(*net, "head", s.width, outputs, 0, kHeadGain);
  set_forward(net, [net = net.get(), in, across, head, features, width = s.width](const at::Tensor& input) {
    const at::Tensor rows = input.reshape({input.size(0), -1, features});
    at::Tensor h = at::zeros({input.size(0), width}, input.options());
    for (std::int64_t t = 0; t < rows.size(1); ++t) {
      h = net->behind(0, in(rows.select(1, t)).add(at::linear(h, across)).tanh());
    }
    return head(h);
  });
}

// One head of attention and an MLP a layer, over the rows of an image or groups of four numbers.
void make_transformer(const Shared& net, const Scenario& s, const std::vector<std::int64_t>& sample,
                      std::int64_t outputs) {
  struct Block {
    at::Tensor gain1, shift1, gain2, shift2;
    Linear qkv, out, up, down;
  };
  const std::int64_t features = sample.size() == 3 ? sample[2] : 2;
  const Linear embed = linear(*net, name_of(0), features, s.width);
  std::vector<Block> blocks;
  for (std::int64_t i = 1; i <= std::min<std::int64_t>(s.depth, 2); ++i) {
    const std::string name = name_of(i);
    Block b;
    b.gain1 = net->add(name + ".norm1.weight", at::ones({s.width}));
    b.shift1 = net->add(name + ".norm1.bias", at::zeros({s.width}));
    b.gain2 = net->add(name + ".norm2.weight", at::ones({s.width}));
    b.shift2 = net->add(name + ".norm2.bias", at::zeros({s.width}));
    b.qkv = linear(*net, name + ".qkv", s.width, 3 * s.width, 0, 0.7);
    b.out = linear(*net, name + ".out", s.width, s.width, 0, 0.3);
    b.up = linear(*net, name + ".up", s.width, 2 * s.width, net->options().bias);
    b.down = linear(*net, name + ".down", 2 * s.width, s.width, 0, 0.3);
    blocks.push_back(b);
  }
  const Linear head = linear(*net, "head", s.width, outputs, 0, kHeadGain);
  set_forward(net, [net = net.get(), embed, blocks, head, features, width = s.width](const at::Tensor& input) {
    at::Tensor x = embed(input.reshape({input.size(0), -1, features}));
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const Block& b = blocks[i];
      const std::vector<at::Tensor> qkv = b.qkv(at::layer_norm(x, {width}, b.gain1, b.shift1)).chunk(3, -1);
      const at::Tensor scores = qkv[0].matmul(qkv[1].transpose(1, 2)).div(std::sqrt(static_cast<double>(width)));
      x = x.add(b.out(at::softmax(scores, -1).matmul(qkv[2])));
      const at::Tensor inner = net->act(b.up(at::layer_norm(x, {width}, b.gain2, b.shift2)));
      x = net->behind(static_cast<std::int64_t>(i) + 1, x.add(b.down(inner)));
    }
    return head(x.mean(1));
  });
}

}  // namespace

Model make_network(const Scenario& scenario, const std::vector<std::int64_t>& sample, std::int64_t outputs,
                   const NetworkOptions& options) {
  const auto net = std::make_shared<Network>(options);
  std::int64_t inputs = 1;
  for (const std::int64_t length : sample) {
    inputs *= length;
  }
  const std::string& kind = scenario.architecture;
  if (kind == "cnn") {
    make_cnn(net, scenario, outputs);
  } else if (kind == "residual") {
    make_residual(net, scenario, inputs, outputs);
  } else if (kind == "recurrent") {
    make_recurrent(net, scenario, sample, outputs);
  } else if (kind == "transformer") {
    make_transformer(net, scenario, sample, outputs);
  } else {
    make_mlp(net, scenario, inputs, outputs);
  }
  return net->model;
}

}  // namespace gradwise::bench
