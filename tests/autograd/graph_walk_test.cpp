// What a walk sees of models whose activations are known; that it changes nothing; graphs that can't be walked.
#include "gradwise/autograd/graph_walk.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/add.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/hardtanh.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/nll_loss.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <vector>

#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

at::Tensor parameter(NamedParameters& all, const std::string& name, const at::Tensor& value) {
  at::Tensor leaf = value.detach().clone().requires_grad_();
  all.add(name, leaf);
  return leaf;
}

// Two layers: y = act(x W + b), loss of a second linear layer.
struct TwoLayers {
  NamedParameters all;
  at::Tensor input = random_tensor({6, 4}, 1);
  at::Tensor weight = parameter(all, "first.weight", random_tensor({5, 4}, 2));
  at::Tensor bias = parameter(all, "first.bias", at::zeros({5}));
  at::Tensor last_weight = parameter(all, "last.weight", random_tensor({3, 5}, 3));
  at::Tensor last_bias = parameter(all, "last.bias", at::zeros({3}));

  [[nodiscard]] at::Tensor hidden() const { return at::linear(input, weight, bias); }
  [[nodiscard]] at::Tensor output_of(const at::Tensor& activated) const {
    return at::linear(activated, last_weight, last_bias);
  }
};

at::Tensor labels() { return tensor_of<std::int64_t>({0, 1, 2, 0, 1, 2}, {6}); }

TEST(GraphWalk, CountsDeadUnitsOfARelu) {
  TwoLayers net;
  {
    const at::NoGradGuard no_grad;
    net.bias.copy_(tensor_of<float>({-100, 0, -100, 100, 0}, {5}));
  }
  const at::Tensor activated = at::relu(net.hidden());
  const at::Tensor loss = at::cross_entropy_loss(net.output_of(activated), labels());
  const GraphWalk walk = walk_graph(loss, net.all);
  ASSERT_EQ(walk.activations.size(), 1U);
  const ActivationReading& seen = walk.activations[0];
  EXPECT_EQ(seen.layer, "first");
  EXPECT_EQ(seen.op, "relu");
  EXPECT_EQ(seen.elements, 30);
  EXPECT_NEAR(seen.dead, 0.4, 1e-6);
  EXPECT_NEAR(seen.zeros, activated.eq(0).to(at::kDouble).mean().item<double>(), 1e-6);
  EXPECT_NEAR(seen.mean, activated.mean().item<double>(), 1e-5 * std::abs(seen.mean));
  EXPECT_NEAR(seen.variance, activated.var(/*unbiased=*/false).item<double>(), 1e-4 * seen.variance);
  EXPECT_EQ(seen.nonfinite, 0);
  EXPECT_TRUE(std::isnan(seen.saturated));
  EXPECT_EQ(walk.loss_path, (std::vector<std::string>{"log_softmax", "nll"}));
}

struct Saturation {
  const char* op;
  at::Tensor (*act)(const at::Tensor&);
  double at;  // an input beyond which it is saturated
};

class SaturatedUnits : public testing::TestWithParam<Saturation> {};

TEST_P(SaturatedUnits, AreTheShareBeyondTheBound) {
  TwoLayers net;
  const double bound = GetParam().at;
  {
    const at::NoGradGuard no_grad;
    net.weight.zero_();
    net.bias.copy_(tensor_of<float>({1.1F, 0.9F, -1.1F, -0.9F, 0}, {5}).mul(bound));
  }
  const GraphWalk walk =
      walk_graph(at::mse_loss(net.output_of(GetParam().act(net.hidden())), at::ones({6, 3})), net.all);
  ASSERT_EQ(walk.activations.size(), 1U);
  EXPECT_EQ(walk.activations[0].op, GetParam().op);
  EXPECT_NEAR(walk.activations[0].saturated, 0.4, 1e-6);
  EXPECT_EQ(walk.loss_path, std::vector<std::string>{"mse"});
}

INSTANTIATE_TEST_SUITE_P(GraphWalk, SaturatedUnits,
                         testing::Values(Saturation{"sigmoid", [](const at::Tensor& x) { return x.sigmoid(); }, 5.99},
                                         Saturation{"tanh", [](const at::Tensor& x) { return x.tanh(); }, 2.993},
                                         Saturation{"hardtanh", [](const at::Tensor& x) { return at::hardtanh(x); },
                                                    1}),
                         [](const auto& info) { return info.param.op; });

TEST(GraphWalk, TakesChannelsForUnitsBehindAConvolution) {
  NamedParameters all;
  const at::Tensor weight = parameter(all, "features.0.weight", random_tensor({4, 1, 3, 3}, 1));
  const at::Tensor bias = parameter(all, "features.0.bias", tensor_of<float>({-100, 0, -100, -100}, {4}));
  const at::Tensor last = parameter(all, "head.weight", random_tensor({2, 4 * 3 * 3}, 2));
  const at::Tensor image = random_tensor({5, 1, 8, 8}, 3);
  const at::Tensor activated = at::relu(at::max_pool2d(at::conv2d(image, weight, bias), 2));
  const at::Tensor loss = at::linear(activated.flatten(1), last).square().mean();
  const GraphWalk walk = walk_graph(loss, all);
  ASSERT_EQ(walk.activations.size(), 1U);
  EXPECT_EQ(walk.activations[0].layer, "features.0");
  EXPECT_NEAR(walk.activations[0].dead, 0.75, 1e-6);
}

TEST(GraphWalk, ListsActivationsOfAResidualNetInForwardOrder) {
  TwoLayers net;
  const at::Tensor weight = parameter(net.all, "middle.weight", random_tensor({5, 5}, 9));
  const at::Tensor first = at::relu(net.hidden());
  const at::Tensor second = at::gelu(at::linear(first, weight)).add(first);
  const at::Tensor third = second.tanh();
  const GraphWalk walk = walk_graph(net.output_of(third).sum(), net.all);
  ASSERT_EQ(walk.activations.size(), 3U);
  EXPECT_EQ(walk.activations[0].op, "relu");
  EXPECT_EQ(walk.activations[0].layer, "first");
  EXPECT_EQ(walk.activations[1].op, "gelu");
  EXPECT_EQ(walk.activations[1].layer, "middle");
  EXPECT_EQ(walk.activations[2].op, "tanh");
}

TEST(GraphWalk, SeesWhatStandsBeforeTheLoss) {
  TwoLayers net;
  const at::Tensor scores = net.output_of(at::relu(net.hidden()));
  const auto path = [&net](const at::Tensor& loss) { return walk_graph(loss, net.all).loss_path; };
  using Path = std::vector<std::string>;
  EXPECT_EQ(path(at::cross_entropy_loss(scores.softmax(1), labels())), (Path{"softmax", "log_softmax", "nll"}));
  EXPECT_EQ(path(at::nll_loss(scores, labels())), (Path{"nll"}));
  EXPECT_EQ(path(at::cross_entropy_loss(scores.relu(), labels())), (Path{"relu", "log_softmax", "nll"}));
  EXPECT_EQ(path(scores.sub(1).square().mean()), (Path{"pow"}));
}

TEST(GraphWalk, ComparesRunningAndBatchStatistics) {
  NamedParameters all;
  const at::Tensor gain = parameter(all, "norm.weight", at::ones({3}));
  const at::Tensor shift = parameter(all, "norm.bias", at::zeros({3}));
  const at::Tensor x = random_tensor({50, 3}, 4).mul(2).add(10);
  const at::Tensor mean = at::zeros({3});
  const at::Tensor variance = at::ones({3});
  const auto walk = [&](bool training) {
    return walk_graph(at::batch_norm(x, gain, shift, mean, variance, training, /*momentum=*/0.0, 1e-5, false).sum(),
                      all);
  };
  const GraphWalk trained = walk(true);
  ASSERT_EQ(trained.batch_norms.size(), 1U);
  EXPECT_TRUE(trained.batch_norms[0].training);
  EXPECT_EQ(trained.batch_norms[0].layer, "norm");
  const at::Tensor deviation = x.std(0, /*unbiased=*/false);
  EXPECT_NEAR(trained.batch_norms[0].mean_gap, x.mean(0).div(deviation).mean().item<double>(), 1e-3);
  EXPECT_NEAR(trained.batch_norms[0].variance_ratio, deviation.square().reciprocal().median().item<double>(), 1e-3);
  const GraphWalk evaluated = walk(false);
  ASSERT_EQ(evaluated.batch_norms.size(), 1U);
  EXPECT_FALSE(evaluated.batch_norms[0].training);
}

TEST(GraphWalk, CountsNonfiniteResults) {
  TwoLayers net;
  {
    const at::NoGradGuard no_grad;
    net.bias.copy_(tensor_of<float>({INFINITY, 0, 0, 0, NAN}, {5}));
  }
  const GraphWalk walk = walk_graph(net.output_of(at::relu(net.hidden())).sum(), net.all);
  EXPECT_NEAR(walk.activations.at(0).nonfinite, 0.4, 1e-6);
}

TEST(GraphWalk, TakesAVarianceBeyondFloat32ForInfinite) {
  const at::Tensor x = at::arange(1, 9, at::kFloat).mul(1e30).requires_grad_();
  const GraphWalk walk = walk_graph(x.relu().mul(1e-30).sum(), {{"x"}, {x}});
  ASSERT_EQ(walk.activations.size(), 1U);
  EXPECT_TRUE(std::isinf(walk.activations[0].variance));
  EXPECT_NEAR(walk.activations[0].mean, 4.5e30, 1e25);
}

TEST(GraphWalk, LeavesGradientsAsTheyAre) {
  const auto gradient = [](bool walked) {
    TwoLayers net;
    const at::Tensor loss = at::cross_entropy_loss(net.output_of(at::relu(net.hidden())), labels());
    if (walked) {
      (void)walk_graph(loss, net.all);
    }
    loss.backward();
    return net.weight.grad().clone();
  };
  EXPECT_TRUE(gradient(true).equal(gradient(false)));
}

TEST(GraphWalk, ReadsTheGradientOfEachActivation) {
  TwoLayers net;
  const at::Tensor activated = at::relu(net.hidden());
  const at::Tensor loss = at::cross_entropy_loss(net.output_of(activated), labels());
  const at::Tensor expected =
      torch::autograd::grad({loss}, {activated}, {}, /*retain_graph=*/true, /*create_graph=*/false)[0];
  const ActivationGradients gradients(loss);
  GraphWalk walk = walk_graph(loss, net.all);
  loss.backward();
  gradients.read_into(walk);
  EXPECT_NEAR(walk.activations.at(0).grad_norm, expected.norm().item<double>(), 1e-6);
}

TEST(GraphWalk, PassesOverWhatWasWrittenOver) {
  TwoLayers net;
  const at::Tensor activated = at::relu(net.hidden());
  const at::Tensor loss = net.output_of(activated.clone()).sum();
  {
    const at::NoGradGuard no_grad;
    activated.add_(1);
  }
  const GraphWalk walk = walk_graph(loss, net.all);
  EXPECT_TRUE(walk.activations.empty());
  EXPECT_EQ(walk.unreadable, 1);
}

TEST(GraphWalk, GoesThroughAVeryDeepGraph) {
  NamedParameters all;
  at::Tensor x = parameter(all, "p", random_tensor({2}, 1));
  for (int i = 0; i < 20000; ++i) {
    x = at::relu(x.add(0.001));
  }
  EXPECT_EQ(walk_graph(x.sum(), all).activations.size(), 20000U);
}

TEST(GraphWalk, RefusesALossThatItCantWalk) {
  TwoLayers net;
  EXPECT_ERROR_WITH("[graph walk] the loss has no graph", (void)walk_graph(at::ones({}), net.all));
  const at::Tensor loss = net.output_of(at::relu(net.hidden())).sum();
  loss.backward();
  EXPECT_ERROR_WITH("has been through backward already", (void)walk_graph(loss, net.all));
}

// Figures of tensors without data can't be fetched.
TEST(GraphWalk, LetsErrorsOfItsOwnReadingsThrough) {
  const at::Tensor x = at::empty({3, 2}, at::TensorOptions().device(at::kMeta)).requires_grad_();
  const at::Tensor loss = x.tanh().sum();
  EXPECT_THROW((void)walk_graph(loss, {}), c10::Error);
}

}  // namespace
}  // namespace gradwise
