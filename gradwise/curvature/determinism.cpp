#include "gradwise/curvature/determinism.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "gradwise/autograd/graph_walk.h"
#include "gradwise/core/error.h"
#include "gradwise/curvature/random_vectors.h"

namespace gradwise {
namespace {

// Half of the digits: kernels may add in another order, masks and statistics of a batch change more.
double rounding_of(const at::Tensor& values) {
  return std::sqrt(values.scalar_type() == at::kDouble ? std::numeric_limits<double>::epsilon()
                                                       : static_cast<double>(std::numeric_limits<float>::epsilon()));
}

// What is not finite is told of where a product is used.
bool differ(const at::Tensor& first, const at::Tensor& second) {
  const double distance = first.sub(second).norm().item<double>();
  const double scale = std::max(first.norm().item<double>(), second.norm().item<double>());
  return std::isfinite(scale) && distance > rounding_of(first) * scale;
}

at::Tensor first_rows(const at::Tensor& tensor, std::int64_t rows, std::int64_t samples) {
  return tensor.defined() && tensor.dim() > 0 && tensor.size(0) == samples ? tensor.narrow(0, 0, rows) : tensor;
}

// The layers of batch norms that took the mini-batch's own statistics; empty where there is none.
std::string training_batch_norms(const at::Tensor& output, const NamedParameters& parameters) {
  if (!output.requires_grad() || output.grad_fn() == nullptr) {
    return "";
  }
  std::string layers;
  for (const BatchNormReading& norm : walk_graph(output, parameters).batch_norms) {
    if (norm.training) {
      layers += (layers.empty() ? "" : ", ") + (norm.layer.empty() ? std::string("without a name") : norm.layer);
    }
  }
  return layers;
}

constexpr const char* kWayOut =
    "put the model into evaluation mode (model.eval()), or set check_deterministic to false to take the passes as they "
    "fall";

}  // namespace

void check_same_output(const char* place, const at::Tensor& first, const at::Tensor& second) {
  GRADWISE_CHECK(first.sizes() == second.sizes() && !differ(first, second), place,
                 "the model is not deterministic: two passes over the same mini-batch give different outputs, ",
                 "as dropout in training mode does; ", kWayOut);
}

void check_same_curvature(const char* place, const BatchCurvature& first, const BatchCurvature& second,
                          const LinearOperator& like) {
  GRADWISE_CHECK(!first.loss.defined() || !differ(first.loss, second.loss), place,
                 "the loss is not deterministic: two passes over the same ", "mini-batch give ",
                 first.loss.item<double>(), " and ", second.loss.item<double>(), ", as dropout in training mode does; ",
                 kWayOut);
  const at::Tensor vector = RandomVectors(like, 0).signs().to(like.options().dtype());
  GRADWISE_CHECK(!differ(first.apply(vector), second.apply(vector)), place,
                 "the derivatives are not deterministic: two passes over the same mini-batch give different products, ",
                 "as dropout in training mode does; ", kWayOut);
}

void check_samples_apart(const char* place, const Model& model, const Batch& batch) {
  const at::AutoGradMode grad_mode(true);
  const at::Tensor whole = model.forward(batch);
  const std::string layers = training_batch_norms(whole, model.parameters);
  const std::int64_t samples = batch.size();
  if (layers.empty() || samples < 3 || whole.dim() == 0 || whole.size(0) != samples) {
    return;
  }
  // An instance norm looks the same in the graph, and keeps samples apart. A batch norm refuses a single sample.
  const std::int64_t half = (samples + 1) / 2;
  Batch part{first_rows(batch.input, half, samples), first_rows(batch.target, half, samples), {}};
  for (const at::Tensor& extra : batch.extra) {
    part.extra.push_back(first_rows(extra, half, samples));
  }
  const at::NoGradGuard no_grad;
  const at::Tensor alone = model.forward(part);
  GRADWISE_CHECK(alone.dim() > 0 && alone.size(0) == half && !differ(alone, whole.detach().narrow(0, 0, half)), place,
                 "a sample's output depends on the mini-batch that it is in, by batch norm in training mode (", layers,
                 "): the matrix of a data set would depend on how it is cut; ", kWayOut);
}

}  // namespace gradwise
