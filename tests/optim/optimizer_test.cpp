#include "gradwise/optim/autograd_optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

OptimizerOptions plain_sgd(double lr) {
  OptimizerOptions options;
  options.name = "sgd";
  options.lr = lr;
  options.weight_decay = 0;
  return options;
}

AutogradOptimizerOptions clipping_at(double max_norm) {
  AutogradOptimizerOptions options;
  options.clip.max_norm = max_norm;
  return options;
}

TEST(Step, ReportsEveryFigure) {
  const Batch batch = toy_batch(16);
  const Model twin = toy_model();
  const double loss = squared_error(twin.forward(batch), batch.target).item<double>();
  const std::vector<at::Tensor> before = copies_of(twin.parameters.tensors);
  const std::vector<at::Tensor> gradients = gradients_of(twin, batch);
  const double norm = norm_of(gradients);

  const double lr = 0.05;
  const double max_norm = 0.5 * norm;
  const Model model = toy_model();
  AutogradOptimizer optimizer(model, plain_sgd(lr), clipping_at(max_norm));
  const StepInfo info = optimizer.step(squared_error, batch.input, batch.target);

  // By hand: w - lr * g * max_norm / (norm + 1e-6)
  const double factor = max_norm / (norm + 1e-6);
  std::vector<at::Tensor> expected;
  std::vector<at::Tensor> updates;
  for (std::size_t i = 0; i < before.size(); ++i) {
    updates.push_back(gradients[i].to(at::kDouble).mul(-lr * factor));
    expected.push_back(before[i].to(at::kDouble).add(updates.back()));
  }
  expect_close(model.parameters.tensors, expected, 1e-6);
  EXPECT_EQ(info.step, 1);
  EXPECT_EQ(info.epoch, 0);
  EXPECT_EQ(info.samples, 16);
  EXPECT_EQ(info.micro_batches, 1);
  EXPECT_NEAR(info.loss, loss, 1e-6 * loss);
  EXPECT_NEAR(info.grad_norm, norm, 1e-5 * norm);
  EXPECT_NEAR(info.grad_norm_clipped, norm * factor, 1e-5 * norm);
  EXPECT_TRUE(info.clipped);
  EXPECT_FALSE(info.skipped);
  EXPECT_EQ(info.skipped_in_all, 0);
  EXPECT_EQ(info.lr, lr);
  EXPECT_NEAR(info.param_norm, norm_of(expected), 1e-5 * norm_of(expected));
  EXPECT_NEAR(info.update_norm, norm_of(updates), 1e-4 * norm_of(updates));
  EXPECT_NEAR(info.update_ratio, norm_of(updates) / norm_of(before), 1e-4 * norm_of(updates) / norm_of(before));
  EXPECT_EQ(info.loss_scale, 1.0);
  EXPECT_TRUE(info.issues.empty());
  const StepTimes& seconds = info.seconds;
  for (const double phase : {seconds.forward, seconds.backward, seconds.clip, seconds.update}) {
    EXPECT_GT(phase, 0);
  }
  EXPECT_DOUBLE_EQ(seconds.total, seconds.forward + seconds.backward + seconds.clip + seconds.update);
}

TEST(Step, LeavesAGradientBelowTheBoundAlone) {
  const Batch batch = toy_batch(16);
  const Model plain = toy_model();
  AutogradOptimizerOptions no_clip;
  no_clip.clip.method = "none";
  AutogradOptimizer without(plain, plain_sgd(0.05), no_clip);
  (void)without.step(squared_error, batch.input, batch.target);

  const Model model = toy_model();
  AutogradOptimizer optimizer(model, plain_sgd(0.05), clipping_at(1e6));
  const StepInfo info = optimizer.step(squared_error, batch.input, batch.target);
  EXPECT_FALSE(info.clipped);
  EXPECT_EQ(info.grad_norm, info.grad_norm_clipped);
  expect_same_bits(model.parameters.tensors, plain.parameters.tensors);
}

TEST(Step, TakesAClipRequestOfItsOwn) {
  const Batch batch = toy_batch(16);
  const double norm = norm_of(gradients_of(toy_model(), batch));
  struct Case {
    std::optional<ClipRequest> request;
    double bound;  // of the norm after clipping
  };
  const Case cases[] = {{std::nullopt, 0.25 * norm},
                        {ClipRequest{.clip_gradients = true, .max_grad_norm = 0.125 * norm}, 0.125 * norm},
                        {ClipRequest{.clip_gradients = false, .max_grad_norm = 0.125 * norm}, norm}};
  for (const Case& c : cases) {
    AutogradOptimizer optimizer(toy_model(), plain_sgd(0.05), clipping_at(0.25 * norm));
    const StepInfo info = optimizer.step(squared_error, batch.input, batch.target, c.request);
    EXPECT_NEAR(info.grad_norm_clipped, c.bound, 1e-4 * norm);
    EXPECT_EQ(info.clipped, c.bound < 0.9 * norm);
  }
}

TEST(Step, TheDefaultsClipAtOne) {
  const Batch batch = toy_batch(16);
  const LossFunction steep = [](const at::Tensor& y, const at::Tensor& t) { return squared_error(y, t).mul(1000); };
  AutogradOptimizer optimizer(toy_model());
  const StepInfo info = optimizer.step(steep, batch.input, batch.target);
  EXPECT_TRUE(info.clipped);
  EXPECT_NEAR(info.grad_norm_clipped, 1.0, 1e-5);
  EXPECT_EQ(info.lr, 1e-3);
}

TEST(Step, CountsStepsAndClearsGradients) {
  const Batch batch = toy_batch(8);
  const Model model = toy_model();
  AutogradOptimizer optimizer(model, plain_sgd(0.1));
  for (std::int64_t step = 1; step <= 3; ++step) {
    EXPECT_EQ(optimizer.step(squared_error, batch.input, batch.target).step, step);
    for (const at::Tensor& parameter : model.parameters.tensors) {
      EXPECT_FALSE(parameter.grad().defined());
    }
  }
  EXPECT_EQ(optimizer.steps(), 3);
  EXPECT_EQ(optimizer.skipped_steps(), 0);
}

TEST(Step, MeasuresTheWeightsEveryNthStepOnly) {
  const Batch batch = toy_batch(8);
  for (const std::int64_t every : {0, 1, 3}) {
    AutogradOptimizerOptions options;
    options.weight_statistics_every = every;
    AutogradOptimizer optimizer(toy_model(), plain_sgd(0.1), options);
    for (std::int64_t step = 1; step <= 6; ++step) {
      const StepInfo info = optimizer.step(squared_error, batch.input, batch.target);
      const bool measured = every > 0 && step % every == 0;
      EXPECT_EQ(std::isfinite(info.update_ratio), measured) << "step " << step << " of every " << every;
      EXPECT_EQ(std::isfinite(info.param_norm), measured);
      EXPECT_EQ(std::isfinite(info.update_norm), measured);
    }
  }
}

TEST(Step, EveryNamedOptimizerLowersTheLoss) {
  const Batch batch = toy_batch(32);
  for (const std::string& name : optimizer_names()) {
    OptimizerOptions options;
    options.name = name;
    options.lr = name == "lbfgs" ? 1.0 : name == "sgd" || name == "adagrad" ? 0.05 : 0.01;
    AutogradOptimizer optimizer(toy_model(), options);
    const double first = optimizer.step(squared_error, batch.input, batch.target).loss;
    double last = first;
    for (int i = 0; i < 60; ++i) {
      last = optimizer.step(squared_error, batch.input, batch.target).loss;
    }
    EXPECT_LT(last, 0.9 * first) << name;
  }
}

TEST(AbandonStep, ChangesNothingAndCounts) {
  const Batch batch = toy_batch(8);
  const Model model = toy_model();
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  const double norm = norm_of(gradients_of(model, batch));
  AutogradOptimizer optimizer(model, plain_sgd(0.1));
  optimizer.accumulate(squared_error, batch);
  const StepInfo info = optimizer.abandon_step();
  EXPECT_TRUE(info.skipped);
  EXPECT_NEAR(info.grad_norm, norm, 1e-5 * norm);
  EXPECT_EQ(info.skipped_in_all, 1);
  EXPECT_EQ(optimizer.skipped_steps(), 1);
  EXPECT_EQ(optimizer.steps(), 1);
  expect_same_bits(model.parameters.tensors, before);
}

TEST(AbandonStep, IsMeasuredAsNoUpdate) {
  const Batch batch = toy_batch(8);
  const Model model = toy_model();
  AutogradOptimizer optimizer(model, plain_sgd(0.1));
  (void)optimizer.step(squared_error, batch.input, batch.target);
  EXPECT_GT(optimizer.weight_moments()[0].update_squares, 0);
  optimizer.accumulate(squared_error, batch);
  (void)optimizer.abandon_step();
  const double squares = model.parameters.tensors[0].square().sum().item<double>();
  EXPECT_EQ(optimizer.weight_moments()[0].update_squares, 0);
  EXPECT_NEAR(optimizer.weight_moments()[0].sum_squares, squares, 1e-6 * squares);
}

TEST(Rates, ReachTheOptimizer) {
  const Batch batch = toy_batch(8);
  const Model model = toy_model();
  AutogradOptimizer optimizer(model, plain_sgd(0.1));
  std::vector<Rate> rates = optimizer.rates();
  ASSERT_EQ(rates.size(), 1U);
  EXPECT_EQ(rates[0].lr, 0.1);
  EXPECT_EQ(rates[0].momentum, 0.0);
  rates[0].lr = 0;
  optimizer.set_rates(rates);
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  const StepInfo info = optimizer.step(squared_error, batch.input, batch.target);
  EXPECT_EQ(info.lr, 0.0);
  expect_same_bits(model.parameters.tensors, before);
  EXPECT_ERROR_WITH("there are 2 rates for 1 parameter groups", optimizer.set_rates(std::vector<Rate>(2)));
}

TEST(Rates, MomentumIsBeta1OfAdam) {
  OptimizerOptions options;
  options.beta1 = 0.8;
  AutogradOptimizer optimizer(toy_model(), options);
  EXPECT_EQ(optimizer.rates()[0].momentum, 0.8);
  std::vector<Rate> rates = optimizer.rates();
  rates[0].momentum = 0.7;
  optimizer.set_rates(rates);
  EXPECT_EQ(optimizer.rates()[0].momentum, 0.7);
  options.name = "adagrad";
  EXPECT_TRUE(std::isnan(AutogradOptimizer(toy_model(), options).rates()[0].momentum));
}

}  // namespace
}  // namespace gradwise
