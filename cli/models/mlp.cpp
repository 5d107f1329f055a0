#include <torch/nn/modules/linear.h>

#include <functional>
#include <numeric>

#include "cli/models/layers.h"
#include "cli/models/model_factory.h"
#include "gradwise/adapters/nn_module.h"

namespace gradwise {
namespace {

// Fully connected layers over the flattened sample.
struct Mlp : torch::nn::Module {
  Mlp(const ModelOptions& options, const ModelShape& shape) : activation(options.activation), dropout(options.dropout) {
    std::int64_t inputs =
        std::accumulate(shape.sample.begin(), shape.sample.end(), std::int64_t{1}, std::multiplies<>());
    for (const std::int64_t units : options.hidden) {
      add_layer(inputs, units);
      inputs = units;
    }
    add_layer(inputs, shape.outputs);
  }

  void add_layer(std::int64_t inputs, std::int64_t outputs) {
    const std::string name = "layer" + std::to_string(layers.size() + 1);
    layers.push_back(register_module(name, torch::nn::Linear(inputs, outputs)));
  }

  torch::Tensor forward(const torch::Tensor& input) {
    torch::Tensor x = input.flatten(1);
    for (std::size_t i = 0; i + 1 < layers.size(); ++i) {
      x = torch::dropout(activate(layers[i](x), activation), dropout, is_training());
    }
    return layers.back()(x);
  }

  std::string activation;
  double dropout;
  std::vector<torch::nn::Linear> layers;
};

}  // namespace

Model build_mlp(const ModelOptions& options, const ModelShape& shape) {
  return adapt(std::make_shared<Mlp>(options, shape));
}

}  // namespace gradwise
