// AutogradOptimizer over modules of torch::nn and optimizers of torch::optim: the one test that includes their headers.
#include <gtest/gtest.h>
#include <torch/nn/modules/batchnorm.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/embedding.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adam.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/sgd.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/adapters/nn_module.h"
#include "gradwise/core/random_state.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

namespace nn = torch::nn;

nn::Sequential network() {
  seed_everything(3);
  return nn::Sequential(nn::Linear(4, 8), nn::BatchNorm1d(8), nn::Linear(8, 1));
}

void train(AutogradOptimizer& optimizer, int steps) {
  for (int i = 0; i < steps; ++i) {
    const Batch batch = toy_batch(16, static_cast<unsigned int>(20 + 2 * i));
    (void)optimizer.step(squared_error, batch.input, batch.target);
  }
}

TEST(NnModule, SharesNamedParametersAndBuffers) {
  const nn::Sequential net = network();
  const Model model = adapt(net.ptr());
  EXPECT_EQ(model.parameters.names,
            (std::vector<std::string>{"0.weight", "0.bias", "1.weight", "1.bias", "2.weight", "2.bias"}));
  EXPECT_EQ(model.buffers.names,
            (std::vector<std::string>{"1.running_mean", "1.running_var", "1.num_batches_tracked"}));
  const std::vector<torch::Tensor> parameters = net->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    EXPECT_TRUE(parameters[i].is_same(model.parameters.tensors[i]));
  }
  EXPECT_TRUE(model.is_training());
  {
    const TrainingModeGuard evaluation(model, false);
    EXPECT_FALSE(net->is_training());
    EXPECT_FALSE(model.is_training());
  }
  EXPECT_TRUE(net->is_training());
}

struct TiedImpl : nn::Module {
  TiedImpl() {
    first = register_module("first", nn::Linear(4, 4));
    second = register_module("second", nn::Linear(4, 4));
    second->weight = second->register_parameter("shared", first->weight);
  }
  nn::Linear first{nullptr}, second{nullptr};
};

TEST(NnModule, ListsASharedTensorOnce) {
  const auto tied = std::make_shared<TiedImpl>();
  const std::vector<std::string> names = named_parameters(*tied).names;
  EXPECT_EQ(std::ranges::count(names, "first.weight"), 1);
  EXPECT_EQ(std::ranges::count(names, "second.shared"), 0);
}

TEST(NnModule, KeepsAFrozenPartInEvaluationMode) {
  nn::Sequential net = network();
  net->train();
  net[1]->eval();
  const Model model = adapt(net.ptr());
  {
    const TrainingModeGuard evaluation(model, false);
    EXPECT_FALSE(net[2]->is_training());
  }
  EXPECT_TRUE(net[0]->is_training());
  EXPECT_FALSE(net[1]->is_training());
}

TEST(ByType, SgdEqualsLibTorchsByNameBitForBit) {
  const nn::Sequential one = network();
  const nn::Sequential other = network();
  auto by_type = AutogradOptimizer::of<torch::optim::SGD>(
      adapt(one.ptr()), torch::optim::SGDOptions(0.05).momentum(0.9).weight_decay(0.01));
  OptimizerOptions options;
  options.name = "sgd";
  options.implementation = "torch";
  options.lr = 0.05;
  options.momentum = 0.9;
  options.weight_decay = 0.01;
  AutogradOptimizer by_name(adapt(other.ptr()), options);
  train(by_type, 10);
  train(by_name, 10);
  expect_same_bits(one->parameters(), other->parameters());
  EXPECT_EQ(by_type.steps(), 10);
}

TEST(ByType, TorchsAdamEqualsTheFusedOneWithinRounding) {
  const nn::Sequential one = network();
  const nn::Sequential other = network();
  auto by_type =
      AutogradOptimizer::of<torch::optim::Adam>(adapt(one.ptr()), torch::optim::AdamOptions(0.01).weight_decay(0.1));
  OptimizerOptions options;
  options.name = "adam";
  options.lr = 0.01;
  options.weight_decay = 0.1;
  AutogradOptimizer by_name(adapt(other.ptr()), options);
  train(by_type, 10);
  train(by_name, 10);
  // The bias before a batch norm gets a gradient of rounding errors, which Adam blows up to its step size.
  for (const std::size_t i : {0U, 2U, 3U, 4U, 5U}) {
    expect_close(one->parameters()[i], other->parameters()[i], 1e-4);
  }
}

TEST(ByPointer, ServesGroupsOfTheCallers) {
  const nn::Sequential net = network();
  const Model model = adapt(net.ptr());
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{model.parameters.tensors[4]},
                      std::make_unique<torch::optim::SGDOptions>(0.25));
  AutogradOptimizer optimizer(model, std::make_unique<torch::optim::SGD>(groups, torch::optim::SGDOptions(0.5)));
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  EXPECT_EQ(optimizer.rates()[0].lr, 0.25);
  train(optimizer, 1);
  EXPECT_FALSE(same_bits(model.parameters.tensors[4], before[4]));
  for (const std::size_t i : {0U, 1U, 2U, 3U, 5U}) {
    EXPECT_TRUE(same_bits(model.parameters.tensors[i], before[i])) << "not the optimizer's";
  }
}

/// A user's own optimizer: w <- w - lr * sign(g).
class SignDescent : public torch::optim::Optimizer {
 public:
  explicit SignDescent(std::vector<torch::Tensor> parameters)
      : Optimizer({torch::optim::OptimizerParamGroup(std::move(parameters))},
                  std::make_unique<torch::optim::SGDOptions>(0.125)) {}
  torch::Tensor step(LossClosure /*closure*/ = nullptr) override {
    const at::NoGradGuard no_grad;
    for (const torch::Tensor& parameter : param_groups().front().params()) {
      at::Tensor(parameter).sub_(parameter.grad().sign(), 0.125);
    }
    return {};
  }
};

TEST(ByPointer, ServesAnOptimizerOfTheUsers) {
  const Batch batch = toy_batch(16);
  const Model model = toy_model();
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  const std::vector<at::Tensor> gradients = gradients_of(model, batch);
  AutogradOptimizer optimizer(model, std::make_unique<SignDescent>(model.parameters.tensors));
  (void)optimizer.step(squared_error, batch.input, batch.target);
  for (std::size_t i = 0; i < before.size(); ++i) {
    expect_close(model.parameters.tensors[i], before[i].sub(gradients[i].sign().mul(0.125)), 1e-7);
  }
}

TEST(ByType, LbfgsRunsThroughItsClosure) {
  const nn::Sequential net = network();
  auto optimizer =
      AutogradOptimizer::of<torch::optim::LBFGS>(adapt(net.ptr()), torch::optim::LBFGSOptions(0.5).max_iter(4));
  const Batch batch = toy_batch(16);
  const double first = optimizer.step(squared_error, batch.input, batch.target).loss;
  EXPECT_LT(optimizer.step(squared_error, batch.input, batch.target).loss, first);
}

TEST(BatchNorm, KeepsItsStatisticsOverANonfiniteStep) {
  const nn::Sequential net = network();
  const Model model = adapt(net.ptr());
  AutogradOptimizer optimizer(model);
  train(optimizer, 2);
  const std::vector<at::Tensor> live = {model.buffers.tensors[0], model.buffers.tensors[1]};
  const std::vector<at::Tensor> before = copies_of(live);
  Batch bad = toy_batch(16);
  bad.input.select(0, 2).fill_(std::numeric_limits<float>::infinity());
  EXPECT_TRUE(optimizer.step(squared_error, bad.input, bad.target).skipped);
  expect_same_bits(live, before);
  train(optimizer, 1);
  EXPECT_FALSE(same_bits(live[0], before[0]));
}

struct SparseCase {
  const char* name;
  double max_norm;
};

class SparseGradients : public testing::TestWithParam<SparseCase> {};

// An embedding with sparse gradients, one index several times, against a dense one.
TEST_P(SparseGradients, ClipAsDenseOnes) {
  const at::Tensor start = random_tensor({6, 3}, 4);
  const at::Tensor tokens = random_tensor({8}, 5).mul(2.9).add(3).to(at::kLong);
  const LossFunction loss = [](const at::Tensor& y, const at::Tensor& t) { return y.sub(t).square().sum(); };
  const at::Tensor target = random_tensor({8, 3}, 6);
  std::vector<at::Tensor> reached;
  std::vector<StepInfo> infos;
  for (const bool sparse : {true, false}) {
    nn::Embedding embedding(nn::EmbeddingOptions(6, 3).sparse(sparse));
    write_into({embedding->weight}, {start});
    AutogradOptimizerOptions options;
    options.clip.max_norm = GetParam().max_norm;
    auto optimizer =
        AutogradOptimizer::of<torch::optim::SGD>(adapt(embedding.ptr()), torch::optim::SGDOptions(0.1), options);
    infos.push_back(optimizer.step(loss, tokens, target));
    reached.push_back(embedding->weight.detach());
  }
  EXPECT_NEAR(infos[0].grad_norm, infos[1].grad_norm, 1e-5 * infos[1].grad_norm);
  EXPECT_EQ(infos[0].clipped, infos[1].clipped);
  EXPECT_EQ(infos[0].clipped, GetParam().max_norm < 10);
  expect_close(reached[0], reached[1], 1e-6);
}

INSTANTIATE_TEST_SUITE_P(All, SparseGradients, testing::Values(SparseCase{"clipped", 0.5}, SparseCase{"free", 1e3}),
                         [](const testing::TestParamInfo<SparseCase>& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace gradwise
