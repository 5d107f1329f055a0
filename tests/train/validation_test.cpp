#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/train/loop.h"
#include "tests/data/error_of.h"
#include "tests/train/list_source.h"
#include "tests/train/loop_settings.h"

namespace gradwise {
namespace {

LoopOptions averaging(double decay) {
  LoopOptions options;
  options.use_ema = true;
  options.ema.decay = decay;
  options.ema.warmup = false;
  options.epochs = 3;
  return options;
}

double loss_over(const Model& model, const Batch& batch) {
  return squared_error(model.forward(batch), batch.target).item<double>();
}

TEST(Validate, WeighsBatchesBySamples) {
  const Batch all = toy_batch(10);
  ListSource source(all, 4);  // 4, 4, 2
  LoopOptions options;
  options.metrics = {"mse", "mae"};
  const Model model = toy_model();
  AutogradTrainingLoop loop(model, plain_sgd(), options);
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  const ValidationStats stats = loop.validate(source, squared_error);
  const at::Tensor difference = model.forward(all).detach().sub(all.target).to(at::kDouble);
  EXPECT_EQ(stats.samples, 10);
  EXPECT_NEAR(stats.validation_loss, difference.square().mean().item<double>(), 1e-6);
  EXPECT_NEAR(stats.metric("mse"), difference.square().mean().item<double>(), 1e-6);
  EXPECT_NEAR(stats.metric("mae"), difference.abs().mean().item<double>(), 1e-6);
  EXPECT_ERROR_WITH("there is no metric \"r2\", allowed: mse, mae", stats.metric("r2"));
  expect_same_bits(model.parameters.tensors, before);
  for (const at::Tensor& parameter : model.parameters.tensors) {
    EXPECT_FALSE(parameter.grad().defined());
  }
}

// A deviation of 20 makes absolute errors 20 times as large and squared ones 400 times; r2 knows no unit.
TEST(Validate, MetricsAreInTheUnitsOfTheDataTheLossAsTrained) {
  ListSource source(toy_batch(10), 4);
  LoopOptions options;
  options.metrics = {"mse", "mae", "r2"};
  AutogradTrainingLoop plain(toy_model(), plain_sgd(), options);
  const ValidationStats as_trained = plain.validate(source, squared_error);
  options.target_scaling = {{100}, {20}};
  AutogradTrainingLoop loop(toy_model(), plain_sgd(), options);
  const ValidationStats stats = loop.validate(source, squared_error);
  EXPECT_EQ(stats.validation_loss, as_trained.validation_loss);
  EXPECT_NEAR(stats.metric("mse"), 400 * as_trained.metric("mse"), 1e-9);
  EXPECT_NEAR(stats.metric("mae"), 20 * as_trained.metric("mae"), 1e-9);
  EXPECT_NEAR(stats.metric("r2"), as_trained.metric("r2"), 1e-9);
}

TEST(Validate, BuildsNoGraph) {
  Model model = toy_model();
  bool graph = true;
  model.forward = [&graph, inner = model.forward](const Batch& batch) {
    const at::Tensor output = inner(batch);
    graph = output.requires_grad();
    return output;
  };
  ListSource source(toy_batch(4), 4);
  AutogradTrainingLoop loop(model, plain_sgd());
  (void)loop.validate(source, squared_error);
  EXPECT_FALSE(graph);
}

TEST(Validate, RefusesEmptyData) {
  ListSource empty(part_of(toy_batch(1), 0, 0), 4);
  AutogradTrainingLoop loop(toy_model(), plain_sgd());
  EXPECT_ERROR_WITH("the validation data is empty", loop.validate(empty, squared_error));
}

// The average by hand, over the same weights.
TEST(EmaValidation, UsesTheAveragesAndGivesTheWeightsBack) {
  ListSource training(toy_batch(12), 4);
  const Batch held_out = toy_batch(8, 300);
  ListSource validation(held_out, 8);
  const Model model = toy_model();
  const Model averaged = toy_model();
  AutogradTrainingLoop loop(model, plain_sgd(), averaging(0.75));
  std::vector<at::Tensor> shadow = copies_of(model.parameters.tensors);
  loop.on(Point::step_end, [&shadow, &model](const Moment&) {
    for (std::size_t i = 0; i < shadow.size(); ++i) {
      shadow[i] = shadow[i].mul(0.75).add(model.parameters.tensors[i].detach(), 0.25);
    }
    return Action::proceed;
  });
  (void)loop.train_epoch(training, squared_error);
  const std::vector<at::Tensor> weights = copies_of(model.parameters.tensors);
  const ValidationStats stats = loop.validate(validation, squared_error);
  expect_same_bits(model.parameters.tensors, weights);
  write_into(averaged.parameters.tensors, shadow);
  EXPECT_NEAR(stats.validation_loss, loss_over(averaged, held_out), 1e-6);
  EXPECT_GT(std::abs(stats.validation_loss - loss_over(model, held_out)), 1e-4) << "average and weights are alike";
}

TEST(EmaValidation, DoesNotDisturbTheTraining) {
  ListSource training(toy_batch(12), 4);
  ListSource validation(toy_batch(8, 300), 8);
  const Model model = toy_model();
  const Model plain = toy_model();
  LoopOptions no_average;
  no_average.epochs = 3;
  AutogradTrainingLoop loop(model, plain_sgd(), averaging(0.9));
  AutogradTrainingLoop without(plain, plain_sgd(), no_average);
  (void)loop.fit(training, &validation, squared_error);
  (void)without.fit(training, nullptr, squared_error);
  expect_same_bits(model.parameters.tensors, plain.parameters.tensors);
  ASSERT_NE(loop.ema(), nullptr);
  EXPECT_EQ(loop.ema()->num_updates(), 9);
  EXPECT_EQ(without.ema(), nullptr);
}

TEST(EmaValidation, GivesTheWeightsBackWhenTheDataBreak) {
  ListSource training(toy_batch(12), 4);
  const Model model = toy_model();
  AutogradTrainingLoop loop(model, plain_sgd(), averaging(0.9));
  (void)loop.train_epoch(training, squared_error);
  const std::vector<at::Tensor> weights = copies_of(model.parameters.tensors);
  BreakingSource broken(1);
  EXPECT_THROW((void)loop.validate(broken, squared_error), std::runtime_error);
  expect_same_bits(model.parameters.tensors, weights);
}

TEST(EmaValidation, AFreshAverageIsNotUsed) {
  ListSource validation(toy_batch(8), 8);
  LoopOptions options = averaging(0.9);
  options.ema.bias_correction = true;  // undefined before the first update
  const Model model = toy_model();
  AutogradTrainingLoop loop(model, plain_sgd(), options);
  EXPECT_NEAR(loop.validate(validation, squared_error).validation_loss, loss_over(model, toy_batch(8)), 1e-6);
}

TEST(EmaValidation, SkippedStepsAreNotAveraged) {
  Batch batch = toy_batch(12);
  batch.input.select(0, 5).fill_(std::nanf(""));
  ListSource training(batch, 4);
  AutogradTrainingLoop loop(toy_model(), plain_sgd(), averaging(0.9));
  EXPECT_EQ(loop.train_epoch(training, squared_error).skipped_steps, 1);
  EXPECT_EQ(loop.ema()->num_updates(), 2);
}

}  // namespace
}  // namespace gradwise
