#include "gradwise/curvature/determinism.h"

#include <torch/csrc/autograd/function.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <vector>

#include "gradwise/autograd/graph_walk.h"
#include "gradwise/autograd/per_sample/recorded_operand.h"
#include "gradwise/core/error.h"
#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/rounding.h"

namespace gradwise {
namespace {

// Half of the digits: kernels may add in another order, masks and statistics of a batch change more.
double tolerance_for(const at::Tensor& values) { return std::sqrt(epsilon_of(values.scalar_type())); }

// What is not finite is told of where a product is used.
bool differ(const at::Tensor& first, const at::Tensor& second) {
  const double distance = first.sub(second).norm().item<double>();
  const double scale = std::max(first.norm().item<double>(), second.norm().item<double>());
  return std::isfinite(scale) && distance > tolerance_for(first) * scale;
}

at::Tensor rows_of(const at::Tensor& tensor, std::int64_t start, std::int64_t count, std::int64_t samples) {
  return tensor.defined() && tensor.dim() > 0 && tensor.size(0) == samples ? tensor.narrow(0, start, count) : tensor;
}

Batch part_of(const Batch& batch, std::int64_t start, std::int64_t count) {
  const std::int64_t samples = batch.size();
  Batch part{rows_of(batch.input, start, count, samples), rows_of(batch.target, start, count, samples), {}};
  for (const at::Tensor& extra : batch.extra) {
    part.extra.push_back(rows_of(extra, start, count, samples));
  }
  return part;
}

// Whether any batch norm took the statistics of `samples` samples.
bool joins_any_samples(const at::Tensor& output, std::int64_t samples) {
  std::vector<torch::autograd::Node*> open = {output.grad_fn().get()};
  std::unordered_set<const torch::autograd::Node*> seen = {open.front()};
  while (!open.empty()) {
    torch::autograd::Node* node = open.back();
    open.pop_back();
    if (joins_samples(*node, samples)) {
      return true;
    }
    for (const torch::autograd::Edge& edge : node->next_edges()) {
      if (edge.function && seen.insert(edge.function.get()).second) {
        open.push_back(edge.function.get());
      }
    }
  }
  return false;
}

// The layers of batch norms that took the mini-batch's own statistics; empty where there is none.
std::string training_batch_norms(const at::Tensor& output, std::int64_t samples, const NamedParameters& parameters) {
  if (output.grad_fn() == nullptr || !joins_any_samples(output, samples)) {
    return "";  // and activations, which a walk reads too, are left alone
  }
  std::string layers;
  for (const BatchNormReading& norm : walk_graph(output, parameters).batch_norms) {
    if (norm.training) {
      layers += (layers.empty() ? "" : ", ") + (norm.layer.empty() ? std::string("without a name") : norm.layer);
    }
  }
  return layers;
}

constexpr const char* kNoReduction =
    ", so what its mini-batches add up to depends on how the data is cut; take a loss that is a mean or a sum over "
    "samples, give all samples as one mini-batch where the matrix is one of Hessian and Gauss-Newton, or set "
    "check_deterministic to false to add mini-batches up as they fall";

constexpr const char* kWayOut =
    "put the model into evaluation mode (model.eval()), or set check_deterministic to false to take the passes as they "
    "fall";

}  // namespace

void check_same_output(const char* place, const at::Tensor& first, const at::Tensor& second) {
  GRADWISE_CHECK(first.sizes() == second.sizes() && !differ(first, second), place,
                 "the model is not deterministic: two passes over the same mini-batch give different outputs, ",
                 "as dropout in training mode does; ", kWayOut);
}

void check_same_loss(const char* place, const at::Tensor& first, const at::Tensor& second) {
  GRADWISE_CHECK(!differ(first, second), place,
                 "the loss is not deterministic: two passes over the same mini-batch give ", first.item<double>(),
                 " and ", second.item<double>(), ", as dropout in training mode does; ", kWayOut);
}

void check_same_curvature(const char* place, const BatchCurvature& first, const BatchCurvature& second,
                          const LinearOperator& like) {
  if (first.loss.defined()) {
    check_same_loss(place, first.loss, second.loss);
  }
  const at::Tensor vector = RandomVectors(like, 0).signs(1).select(1, 0).to(like.options().dtype());
  GRADWISE_CHECK(!differ(first.apply(vector), second.apply(vector)), place,
                 "the derivatives are not deterministic: two passes over the same mini-batch give different products, ",
                 "as dropout in training mode does; ", kWayOut);
}

void check_samples_apart(const char* place, const Model& model, const Batch& batch, const at::Tensor& output) {
  const std::int64_t samples = batch.size();
  if (samples < 3 || output.dim() == 0 || output.size(0) != samples) {
    return;
  }
  const std::string layers = training_batch_norms(output, samples, model.parameters);
  if (layers.empty()) {
    return;
  }
  // An instance norm may look the same in the graph, and keeps samples apart. A batch norm refuses a single sample.
  const std::int64_t half = (samples + 1) / 2;
  const at::Tensor alone = model.forward(part_of(batch, 0, half)).detach();
  GRADWISE_CHECK(alone.dim() > 0 && alone.size(0) == half && !differ(alone, output.detach().narrow(0, 0, half)), place,
                 "a sample's output depends on the mini-batch that it is in, by batch norm in training mode (", layers,
                 "): the matrix of a data set would depend on how it is cut; ", kWayOut);
}

void check_over_samples(const char* place, const LossFunction& loss_function, const Model& model, const Batch& batch,
                        const at::Tensor& output, const std::string& reduction) {
  const std::int64_t samples = batch.size();
  const bool has_rows = output.dim() > 0 && output.size(0) % samples == 0 && batch.target.defined() &&
                        batch.target.dim() > 0 && batch.target.size(0) % samples == 0;
  const auto loss_of = [&](std::int64_t start, std::int64_t count) {
    if (!has_rows) {
      const Batch part = part_of(batch, start, count);
      return loss_function(model.forward(part), part.target).item<double>();
    }
    const std::int64_t outputs = output.size(0) / samples;
    const std::int64_t targets = batch.target.size(0) / samples;
    return loss_function(output.narrow(0, start * outputs, count * outputs),
                         batch.target.narrow(0, start * targets, count * targets))
        .item<double>();
  };
  const auto agree = [tolerance = tolerance_for(output)](double whole, double first, double second) {
    const double scale = std::max(std::abs(whole), std::abs(first) + std::abs(second));
    return !std::isfinite(scale) || std::abs(whole - first - second) <= tolerance * scale;
  };
  constexpr std::int64_t kFewest = 4;
  double whole = samples < kFewest ? 0 : loss_of(0, samples);
  for (std::int64_t n = samples; n >= kFewest && (n == samples || has_rows); n = (n + 1) / 2) {
    const std::int64_t half = (n + 1) / 2;
    const double first = loss_of(0, half);
    const double second = loss_of(half, n - half);
    const double share = static_cast<double>(half) / static_cast<double>(n);
    const bool is_mean = agree(whole, share * first, (1 - share) * second);
    const bool is_sum = agree(whole, first, second);
    GRADWISE_CHECK(reduction == "mean" ? is_mean : is_sum, place, "the loss is no ", reduction,
                   " over samples, which reduction says: over ", n, " samples it is ", whole, ", over their halves ",
                   first, " and ", second, is_mean || is_sum ? "; set reduction to " : "",
                   is_mean  ? "mean"
                   : is_sum ? "sum"
                            : kNoReduction);
    whole = first;
  }
}

}  // namespace gradwise
