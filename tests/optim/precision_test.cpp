#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gradwise/optim/autocast.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

class MixedPrecision : public testing::TestWithParam<std::string> {};

AutogradOptimizerOptions precision(const std::string& name, double init_scale = 65536) {
  AutogradOptimizerOptions options;
  options.precision = name;
  options.scaler.init_scale = init_scale;
  return options;
}

OptimizerOptions adamw() {
  OptimizerOptions options;
  options.lr = 0.01;
  return options;
}

TEST_P(MixedPrecision, LowersTheLossOnTheCpu) {
  const Batch batch = toy_batch(32);
  const Model model = toy_model();
  AutogradOptimizer optimizer(model, adamw(), precision(GetParam()));
  const double first = optimizer.step(squared_error, batch.input, batch.target).loss;
  StepInfo last;
  for (int i = 0; i < 80; ++i) {
    last = optimizer.step(squared_error, batch.input, batch.target);
  }
  EXPECT_LT(last.loss, 0.8 * first);
  for (const at::Tensor& parameter : model.parameters.tensors) {
    EXPECT_EQ(parameter.scalar_type(), at::kFloat) << "the weights stay float32";
    EXPECT_TRUE(parameter.isfinite().all().item<bool>());
  }
}

TEST_P(MixedPrecision, RunsTheForwardPassInThatType) {
  const at::ScalarType expected = GetParam() == "float32"    ? at::kFloat
                                  : GetParam() == "bfloat16" ? at::kBFloat16
                                                             : at::kHalf;
  Model model = toy_model();
  const at::Tensor weight = model.parameters.tensors[0];
  at::ScalarType seen = at::kByte;
  model.forward = [&seen, weight, inner = model.forward](const Batch& batch) {
    seen = batch.input.matmul(weight).scalar_type();
    return inner(batch);
  };
  const Batch batch = toy_batch(8);
  AutogradOptimizer optimizer(model, adamw(), precision(GetParam()));
  (void)optimizer.step(squared_error, batch.input, batch.target);
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(batch.input.matmul(weight).scalar_type(), at::kFloat) << "nothing is left on after the step";
}

// The figures are those of unscaled gradients, within what half precision resolves (8 bits and 11 bits).
TEST_P(MixedPrecision, ReportsUnscaledFigures) {
  const Batch batch = toy_batch(32);
  const double norm = norm_of(gradients_of(toy_model(), batch));
  AutogradOptimizer optimizer(toy_model(), adamw(), precision(GetParam(), 1024));
  const StepInfo info = optimizer.step(squared_error, batch.input, batch.target);
  EXPECT_FALSE(info.skipped);
  EXPECT_NEAR(info.grad_norm, norm, 0.05 * norm);
  EXPECT_EQ(info.loss_scale, GetParam() == "float16" ? 1024.0 : 1.0);
}

INSTANTIATE_TEST_SUITE_P(All, MixedPrecision, testing::Values("float32", "bfloat16", "float16"),
                         [](const testing::TestParamInfo<std::string>& info) { return info.param; });

TEST(MixedPrecisionScaler, BacksOffUntilTheGradientsAreFinite) {
  const Batch batch = toy_batch(16);
  const LossFunction steep = [](const at::Tensor& y, const at::Tensor& t) { return squared_error(y, t).mul(64); };
  const Model model = toy_model();
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  AutogradOptimizer optimizer(model, adamw(), precision("float16", 16777216));
  StepInfo info = optimizer.step(steep, batch.input, batch.target);
  EXPECT_TRUE(info.skipped);
  EXPECT_EQ(info.loss_scale, 16777216.0);
  ASSERT_EQ(info.issues.size(), 1U);
  EXPECT_EQ(info.issues[0].severity, Issue::Severity::info) << "an overflow is the scaler's daily work";
  expect_same_bits(model.parameters.tensors, before);
  double scale = info.loss_scale;
  while (info.skipped && scale > 1) {
    info = optimizer.step(steep, batch.input, batch.target);
    EXPECT_EQ(info.loss_scale, scale / 2);
    scale = info.loss_scale;
  }
  EXPECT_FALSE(info.skipped);
  EXPECT_EQ(optimizer.skipped_steps(), optimizer.steps() - 1);
}

TEST(MixedPrecisionScaler, LooksForItsScaleBeforeItRaises) {
  const Batch batch = toy_batch(8);
  AutogradOptimizerOptions options = precision("float16", 4);
  options.on_nonfinite = "raise";
  AutogradOptimizer optimizer(toy_model(), adamw(), options);
  const LossFunction infinite = [](const at::Tensor& output, const at::Tensor& target) {
    return squared_error(output, target).mul(std::numeric_limits<float>::infinity());
  };
  EXPECT_TRUE(optimizer.step(infinite, batch.input, batch.target).skipped);
  EXPECT_EQ(optimizer.step(infinite, batch.input, batch.target).loss_scale, 2);
  EXPECT_ERROR_WITH("holds inf or NaN", optimizer.step(infinite, batch.input, batch.target));
  EXPECT_FALSE(optimizer.step(squared_error, batch.input, batch.target).skipped) << "the scaler is in order after it";
}

TEST(MixedPrecisionScaler, UnscalesTheNormOfAnAbandonedStep) {
  const Batch batch = toy_batch(8);
  AutogradOptimizer plain(toy_model(), adamw(), precision("float16", 1));
  AutogradOptimizer scaled(toy_model(), adamw(), precision("float16", 1024));
  plain.accumulate(squared_error, batch);
  scaled.accumulate(squared_error, batch);
  const StepInfo info = scaled.abandon_step();
  EXPECT_EQ(info.loss_scale, 1024);
  EXPECT_NEAR(info.grad_norm / plain.abandon_step().grad_norm, 1, 1e-2);
}

TEST(MixedPrecisionScaler, IsPartOfTheState) {
  const Batch batch = toy_batch(16);
  AutogradOptimizer optimizer(toy_model(), adamw(), precision("float16", 512));
  (void)optimizer.step(squared_error, batch.input, batch.target);
  AutogradOptimizer continued(toy_model(), adamw(), precision("float16", 8));
  continued.load_state(optimizer.state());
  EXPECT_EQ(continued.step(squared_error, batch.input, batch.target).loss_scale, 512.0);
}

TEST(AutocastScope, Nests) {
  const at::Tensor a = random_tensor({2, 2}, 1);
  const auto product_type = [&a] { return a.matmul(a).scalar_type(); };
  EXPECT_EQ(product_type(), at::kFloat);
  {
    const AutocastScope outer(at::kCPU, at::kBFloat16);
    EXPECT_EQ(product_type(), at::kBFloat16);
    {
      const AutocastScope inner(at::kCPU, at::kHalf);
      EXPECT_EQ(product_type(), at::kHalf);
      const AutocastScope none(at::kCPU, at::kFloat);
      EXPECT_EQ(product_type(), at::kHalf) << "float32 changes nothing";
    }
    EXPECT_EQ(product_type(), at::kBFloat16);
  }
  EXPECT_EQ(product_type(), at::kFloat);
}

}  // namespace
}  // namespace gradwise
