#include "examples/cpp/network.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linear.h>

#include <cmath>
#include <string>

using namespace gradwise;

namespace {

at::Tensor uniform(at::IntArrayRef shape, double bound, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  return at::empty(shape, type).uniform_(-bound, bound).requires_grad_();
}

}  // namespace

Model dense_network(const std::vector<std::int64_t>& widths,
                    const std::function<at::Tensor(const at::Tensor&)>& activation, at::ScalarType type) {
  Model model;
  for (std::size_t layer = 0; layer + 1 < widths.size(); ++layer) {
    const double bound = 1 / std::sqrt(static_cast<double>(widths[layer]));
    const std::string name = std::to_string(2 * layer);
    model.parameters.add(name + ".weight", uniform({widths[layer + 1], widths[layer]}, bound, type));
    model.parameters.add(name + ".bias", uniform({widths[layer + 1]}, bound, type));
  }
  model.forward = [parameters = model.parameters.tensors, activation](const Batch& batch) {
    at::Tensor x = batch.input;
    for (std::size_t i = 0; i < parameters.size(); i += 2) {
      x = at::linear(i == 0 ? x : activation(x), parameters[i], parameters[i + 1]);
    }
    return x;
  };
  return model;
}
