#include "examples/cpp/autograd_examples.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "examples/cpp/network.h"
#include "gradwise/autograd/checkpoint/checkpoint.h"
#include "gradwise/autograd/functions/custom_function.h"
#include "gradwise/autograd/functions/custom_loss.h"
#include "gradwise/autograd/functions/gradcheck.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/core/random_state.h"
#include "gradwise/data/loader.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/train/loop.h"
#include "gradwise/train/losses.h"

using namespace gradwise;

namespace {

// Three clouds of points with their numbers.
std::pair<at::Tensor, at::Tensor> blobs(std::int64_t samples) {
  const at::Tensor classes = at::arange(samples, at::kLong).remainder(3);
  const at::Tensor centres = at::tensor({2.0F, 0.0F, -1.0F, 1.7F, -1.0F, -1.7F}).view({3, 2});
  const at::Tensor noise = at::randn({samples, 2}, at::detail::createCPUGenerator(0), at::kFloat);
  return {centres.index_select(0, classes).add(noise), classes};
}

// Throws where a gradient is wrong.
bool checked(const TensorFunction& function, const Tensors& inputs) {
  Tensors given;
  for (const at::Tensor& input : inputs) {
    given.push_back(input.to(at::kDouble).requires_grad_());
  }
  return gradcheck(function, given) && gradgradcheck(function, given);
}

at::Tensor leaky(const at::Tensor& x) { return custom_leaky_relu(x, 0.1); }

}  // namespace

CustomRelu CustomAutogradExample::custom_relu() {
  const at::Tensor x = at::tensor({-1.5F, -0.2F, 0.3F, 2.0F});
  const auto relu = [](const Tensors& in) { return Tensors{gradwise::custom_relu(in[0])}; };
  return {x, gradwise::custom_relu(x), checked(relu, {x})};
}

CustomHuberLoss CustomAutogradExample::custom_huber_loss(double delta) {
  const CustomLossFunction loss = CustomLossFunction::huber({.delta = delta});
  const at::Tensor output = at::tensor({0.2F, 3.0F, -4.0F});
  const at::Tensor target = at::tensor({0.0F, 0.5F, -1.0F});
  return {loss(output, target).item<double>(),
          checked([&loss](const Tensors& in) { return Tensors{loss(in)}; }, {output, target})};
}

CustomLinear CustomAutogradExample::custom_linear(bool bias) {
  seed_everything(0);
  Tensors inputs{at::randn({4, 3}), at::randn({2, 3})};
  if (bias) {
    inputs.push_back(at::randn({2}));
  }
  const TensorFunction linear = [](const Tensors& in) {
    return Tensors{gradwise::custom_linear(in[0], in[1], in.size() > 2 ? in[2] : at::Tensor())};
  };
  return {linear(inputs).front(), checked(linear, inputs)};
}

CustomActivationInAModel CustomAutogradExample::custom_activation_in_a_model(int steps) {
  seed_everything(0);
  const auto [x, y] = blobs(256);
  const Model model = dense_network({2, 16, 3}, leaky);
  const LossFunction cross_entropy = make_loss("cross_entropy");
  AutogradOptimizer optimizer(model, {.lr = 0.02});
  CustomActivationInAModel result;
  for (int step = 0; step < steps; ++step) {
    result.last_loss = optimizer.step(cross_entropy, x, y).loss;
    result.first_loss = step == 0 ? result.last_loss : result.first_loss;
  }
  result.accuracy = model.forward({x, y, {}}).argmax(1).eq(y).to(at::kFloat).mean().item<double>();
  result.checked = checked([](const Tensors& in) { return Tensors{leaky(in[0])}; }, {at::tensor({-1.0F, 0.4F, 2.0F})});
  return result;
}

BasicTraining AutogradTrainingExamples::basic_training(int epochs) {
  seed_everything(0);
  const auto [x, y] = blobs(600);
  DataLoader training(make_dataset(x.narrow(0, 0, 512), y.narrow(0, 0, 512)), {.batch_size = 32, .shuffle = false});
  DataLoader held_out(make_dataset(x.narrow(0, 512, 88), y.narrow(0, 512, 88)), {.batch_size = 88, .shuffle = false});
  const LossFunction cross_entropy = make_loss("cross_entropy");
  AutogradTrainingLoop loop(dense_network({2, 32, 3}, [](const at::Tensor& in) { return at::relu(in); }), {.lr = 1e-2},
                            {.metrics = {"accuracy"}});
  BasicTraining result;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const std::vector<double> losses = loop.train_epoch(training, cross_entropy).losses;
    result.losses.push_back(std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size()));
  }
  const ValidationStats validation = loop.validate(held_out, cross_entropy);
  result.validation_loss = validation.validation_loss;
  result.accuracy = validation.metric("accuracy");
  return result;
}

GradientAccumulation AutogradTrainingExamples::gradient_accumulation(std::int64_t micro_batches) {
  const auto [x, y] = blobs(100);
  const LossFunction cross_entropy = make_loss("cross_entropy");
  const OptimizerOptions sgd{.name = "sgd", .lr = 0.1, .weight_decay = 0};
  const auto fresh = [] {
    seed_everything(0);
    return dense_network({2, 16, 3}, [](const at::Tensor& in) { return in.tanh(); });
  };
  const Model large = fresh();
  AutogradOptimizer(large, sgd).step(cross_entropy, x, y);
  const Model small = fresh();
  AutogradOptimizer parts(small, sgd);
  const std::int64_t size = (x.size(0) + micro_batches - 1) / micro_batches;
  for (std::int64_t start = 0; start < x.size(0); start += size) {
    const std::int64_t length = std::min(size, x.size(0) - start);
    parts.accumulate(cross_entropy, {x.narrow(0, start, length), y.narrow(0, start, length), {}}, micro_batches);
  }
  parts.finish_step();
  GradientAccumulation result;
  for (std::size_t i = 0; i < large.parameters.size(); ++i) {
    const at::Tensor apart = large.parameters.tensors[i].detach().sub(small.parameters.tensors[i].detach());
    result.largest_difference = std::max(result.largest_difference, apart.abs().max().item<double>());
  }
  return result;
}

SecondOrder AutogradAdvancedExamples::second_order() {
  const at::Tensor x = at::tensor({1.0F, 2.0F, -3.0F}).requires_grad_();
  const at::Tensor first = gradients({x.pow(3).sum()}, {x}, {}, {.create_graph = true}).front();
  return {first.detach(), gradients({first.sum()}, {x}).front(), x.detach().mul(6)};
}

GradientCheckpointing AutogradAdvancedExamples::gradient_checkpointing(int blocks, std::int64_t width,
                                                                       std::int64_t batch) {
  seed_everything(0);
  const std::vector<std::int64_t> widths(static_cast<std::size_t>(blocks) + 1, width);
  const Tensors parameters = dense_network(widths, [](const at::Tensor& in) { return in.tanh(); }).parameters.tensors;
  std::vector<StageFunction> stages;
  for (std::size_t i = 0; i < parameters.size(); i += 2) {
    stages.emplace_back([weight = parameters[i], bias = parameters[i + 1]](const at::Tensor& in) {
      return at::linear(in, weight, bias);
    });
    stages.emplace_back([](const at::Tensor& in) { return in.tanh(); });
  }
  const at::Tensor x = at::randn({batch, width});
  // Gradients and peak memory of one pass through the stages.
  const auto measured = [&parameters](const std::function<at::Tensor()>& forward) {
    const PeakMemory memory;
    Tensors slopes = gradients({forward().square().mean()}, parameters);
    return std::pair(std::move(slopes), memory.peak());
  };
  const auto [plain, plain_bytes] = measured([&] {
    at::Tensor out = x;
    for (const StageFunction& stage : stages) {
      out = stage(out);
    }
    return out;
  });
  const auto [saved, saved_bytes] = measured([&] { return checkpoint_sequential(stages, 6, x); });
  const bool equal = std::equal(plain.begin(), plain.end(), saved.begin(), saved.end(),
                                [](const at::Tensor& a, const at::Tensor& b) { return a.equal(b); });
  return {plain_bytes, saved_bytes, equal};
}
