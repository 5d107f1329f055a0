#include <gtest/gtest.h>
#include <torch/optim/optimizer.h>

#include <limits>
#include <string>
#include <vector>

#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/optim/torch_optimizers.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// A toy model that keeps a running mean of its inputs, as batch norm does.
Model model_with_running_mean() {
  Model model = toy_model();
  const at::Tensor mean = random_tensor({4}, 9);
  model.buffers.add("mean", mean);
  model.forward = [mean, inner = model.forward](const Batch& batch) {
    at::Tensor(mean).mul_(0.9).add_(batch.input.mean(std::int64_t{0}), 0.1);
    return inner(batch);
  };
  return model;
}

Batch bad_batch() {
  Batch batch = toy_batch(8, 77);
  batch.input.select(0, 3).fill_(kNan);
  return batch;
}

OptimizerOptions named(const std::string& name) {
  OptimizerOptions options;
  options.name = name;
  options.lr = name == "lbfgs" ? 0.5 : 0.01;
  options.momentum = 0.9;
  return options;
}

std::vector<at::Tensor> all_tensors(const Model& model) {
  std::vector<at::Tensor> all = model.parameters.tensors;
  all.insert(all.end(), model.buffers.tensors.begin(), model.buffers.tensors.end());
  return all;
}

class NonfiniteStep : public testing::TestWithParam<std::string> {};

// A twin never sees the bad batch: after the next good step both must be equal bit by bit, state included.
TEST_P(NonfiniteStep, IsAsIfItHadNeverBeen) {
  const Model model = model_with_running_mean();
  const Model twin = model_with_running_mean();
  AutogradOptimizer optimizer(model, named(GetParam()));
  AutogradOptimizer undisturbed(twin, named(GetParam()));
  const Batch good = toy_batch(8, 33);
  for (int i = 0; i < 2; ++i) {
    (void)optimizer.step(squared_error, good.input, good.target);
    (void)undisturbed.step(squared_error, good.input, good.target);
  }
  const std::vector<at::Tensor> before = copies_of(all_tensors(model));
  const Batch bad = bad_batch();
  const StepInfo info = optimizer.step(squared_error, bad.input, bad.target);
  expect_same_bits(all_tensors(model), before);

  EXPECT_TRUE(info.skipped);
  EXPECT_EQ(info.skipped_in_all, 1);
  EXPECT_EQ(optimizer.skipped_steps(), 1);
  EXPECT_EQ(optimizer.steps(), 3);
  ASSERT_EQ(info.issues.size(), 1U);
  EXPECT_EQ(info.issues[0].rule, "nonfinite_gradient");
  EXPECT_EQ(info.issues[0].severity, Issue::Severity::error);
  EXPECT_EQ(info.issues[0].step, 3);
  EXPECT_FALSE(info.issues[0].layer.empty());
  EXPECT_FALSE(info.issues[0].advice.empty());

  if (GetParam() == "lbfgs") {
    return;  // its history is dropped, so that it goes on along another path
  }
  (void)optimizer.step(squared_error, good.input, good.target);
  (void)undisturbed.step(squared_error, good.input, good.target);
  expect_same_bits(all_tensors(model), all_tensors(twin));
}

INSTANTIATE_TEST_SUITE_P(All, NonfiniteStep, testing::ValuesIn(optimizer_names()),
                         [](const testing::TestParamInfo<std::string>& info) { return info.param; });

TEST(Nonfinite, LbfgsGoesOnAfterwards) {
  const Model model = toy_model();
  AutogradOptimizer optimizer(model, named("lbfgs"));
  const Batch bad = bad_batch();
  const Batch good = toy_batch(8, 33);
  EXPECT_TRUE(optimizer.step(squared_error, bad.input, bad.target).skipped);
  const double first = optimizer.step(squared_error, good.input, good.target).loss;
  EXPECT_LT(optimizer.step(squared_error, good.input, good.target).loss, first);
}

TEST(Nonfinite, AFiniteLossWithANanGradientIsSkipped) {
  // The derivative of sqrt|y - t| at y = t is 0 times infinity.
  const LossFunction cusp = [](const at::Tensor& y, const at::Tensor& t) { return y.sub(t).abs().sqrt().mean(); };
  const Model model = toy_model();
  const Batch batch = toy_batch(4);
  const at::Tensor reached = model.forward(batch).detach();
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  AutogradOptimizer optimizer(model, named("sgd"));
  const StepInfo info = optimizer.step(cusp, batch.input, reached);
  EXPECT_EQ(info.loss, 0);
  EXPECT_TRUE(info.skipped);
  expect_same_bits(model.parameters.tensors, before);
}

TEST(Nonfinite, OneBadMicroBatchSkipsTheWindow) {
  const Model model = toy_model();
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  AutogradOptimizer optimizer(model, named("adamw"));
  optimizer.accumulate(squared_error, bad_batch(), 2);
  optimizer.accumulate(squared_error, toy_batch(8), 2);
  EXPECT_TRUE(optimizer.finish_step().skipped);
  expect_same_bits(model.parameters.tensors, before);
}

// Squares of 1e30 overflow float32, yet every gradient is finite: the step counts, clipped to norm 1.
TEST(Nonfinite, AnOverflowingNormIsNotANonfiniteGradient) {
  const at::Tensor weight = random_tensor({4}, 1).requires_grad_();
  Model model;
  model.parameters.add("weight", weight);
  model.forward = [weight](const Batch& batch) { return batch.input.mul(weight); };
  const LossFunction steep = [](const at::Tensor& y, const at::Tensor&) { return y.mul(1e30).sum(); };
  const at::Tensor input = random_tensor({1, 4}, 2);
  const at::Tensor before = weight.detach().clone();
  OptimizerOptions options = named("sgd");
  options.lr = 0.1;
  options.weight_decay = 0;
  AutogradOptimizer optimizer(model, options);
  const StepInfo info = optimizer.step(steep, input, input);
  EXPECT_FALSE(info.skipped);
  EXPECT_NEAR(info.grad_norm / 1e30, norm_of({input}), 1e-5);
  expect_close(weight, before.sub(input[0].mul(0.1 / norm_of({input}))), 1e-6);
}

TEST(Nonfinite, RaiseThrowsAndChangesNothing) {
  AutogradOptimizerOptions options;
  options.on_nonfinite = "raise";
  const Model model = toy_model();
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  AutogradOptimizer optimizer(model, named("adam"), options);
  const Batch bad = bad_batch();
  EXPECT_ERROR_WITH("holds inf or NaN in step 1; loss is ", optimizer.step(squared_error, bad.input, bad.target));
  expect_same_bits(model.parameters.tensors, before);
  const Batch good = toy_batch(8);
  EXPECT_EQ(optimizer.step(squared_error, good.input, good.target).step, 2);
}

TEST(Nonfinite, IgnoreGoesOn) {
  AutogradOptimizerOptions options;
  options.on_nonfinite = "ignore";
  const Model model = toy_model();
  AutogradOptimizer optimizer(model, named("sgd"), options);
  const Batch bad = bad_batch();
  const StepInfo info = optimizer.step(squared_error, bad.input, bad.target);
  EXPECT_FALSE(info.skipped);
  EXPECT_EQ(optimizer.skipped_steps(), 0);
  EXPECT_EQ(info.issues.size(), 1U) << "it is reported all the same";
  EXPECT_TRUE(model.parameters.tensors[0].isnan().any().item<bool>());
}

// What the pass makes of inf and NaN is what LibTorch's optimizers make of them.
TEST(Nonfinite, IgnoreHasLibTorchsNumbers) {
  OptimizerOptions centered = named("rmsprop");
  centered.centered = true;
  OptimizerOptions largest = named("adam");
  largest.amsgrad = true;
  for (OptimizerOptions options : {centered, largest}) {
    std::vector<at::Tensor> weights;
    for (const char* implementation : {"gradwise", "torch"}) {
      options.implementation = implementation;
      const at::Tensor weight = random_tensor({5}, 1).requires_grad_();
      const auto optimizer = make_optimizer(options, NamedParameters{{"weight"}, {weight}});
      at::Tensor(weight).mutable_grad() = random_tensor({5}, 2);
      weight.grad()[1] = std::numeric_limits<float>::infinity();
      weight.grad()[3] = kNan;
      optimizer->step();
      weights.push_back(weight.detach());
    }
    EXPECT_TRUE(weights[0].allclose(weights[1], 1e-5, 1e-6, /*equal_nan=*/true)) << options.name;
    EXPECT_TRUE(weights[0][1].isnan().item<bool>()) << options.name;
  }
}

}  // namespace
}  // namespace gradwise
