#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "gradwise/train/loop.h"
#include "tests/data/error_of.h"
#include "tests/train/scripted_model.h"

namespace gradwise {
namespace {

OptimizerOptions sgd(double lr = 0.1) {
  OptimizerOptions options;
  options.name = "sgd";
  options.lr = lr;
  return options;
}

LoopOptions with_schedule(const std::string& name, const std::string& per, std::int64_t epochs) {
  LoopOptions options;
  options.epochs = epochs;
  options.schedule.name = name;
  options.schedule.per = per;
  return options;
}

std::vector<double> rates_of(const FitResult& result) {
  std::vector<double> rates;
  for (const EpochStats& epoch : result.history) {
    rates.insert(rates.end(), epoch.learning_rates.begin(), epoch.learning_rates.end());
  }
  return rates;
}

TEST(Schedule, PerStepMovesAtEachOptimizerStep) {
  LoopOptions options = with_schedule("exponential", "step", 2);
  options.schedule.gamma = 0.5;
  options.accumulate = 2;
  ListSource source(toy_batch(12), 4);  // two steps an epoch
  AutogradTrainingLoop loop(toy_model(), sgd(), options);
  EXPECT_EQ(rates_of(loop.fit(source, nullptr, squared_error)), (std::vector<double>{0.1, 0.05, 0.025, 0.0125}));
}

TEST(Schedule, PerEpochMovesAtEachEpoch) {
  LoopOptions options = with_schedule("exponential", "epoch", 3);
  options.schedule.gamma = 0.5;
  ListSource source(toy_batch(8), 4);
  AutogradTrainingLoop loop(toy_model(), sgd(), options);
  EXPECT_EQ(rates_of(loop.fit(source, nullptr, squared_error)),
            (std::vector<double>{0.1, 0.1, 0.05, 0.05, 0.025, 0.025}));
}

// cos: lr (1 + cos(π i / n)) / 2 over the n steps of the training
TEST(Schedule, KnowsTheLengthOfTheTraining) {
  LoopOptions options = with_schedule("cosine", "step", 4);
  options.accumulate = 2;
  ListSource source(toy_batch(10), 4);  // three batches, so two steps an epoch: 8 in all
  AutogradTrainingLoop loop(toy_model(), sgd(), options);
  const std::vector<double> rates = rates_of(loop.fit(source, nullptr, squared_error));
  ASSERT_EQ(rates.size(), 8U);
  for (std::size_t i = 0; i < 8; ++i) {
    EXPECT_NEAR(rates[i], 0.05 * (1 + std::cos(std::numbers::pi * static_cast<double>(i) / 8)), 1e-14);
  }
}

TEST(Schedule, MaxStepsShortensIt) {
  LoopOptions options = with_schedule("cosine", "step", 100);
  options.max_steps = 4;
  ListSource source(toy_batch(8), 4);
  AutogradTrainingLoop loop(toy_model(), sgd(), options);
  const std::vector<double> rates = rates_of(loop.fit(source, nullptr, squared_error));
  ASSERT_EQ(rates.size(), 4U);
  EXPECT_NEAR(rates[3], 0.05 * (1 + std::cos(std::numbers::pi * 3 / 4)), 1e-14);
}

// Patience 0: each validation that is no better halves the rate of the next epoch.
TEST(Schedule, PlateauGetsTheMonitoredFigure) {
  LoopOptions options = with_schedule("plateau", "epoch", 5);
  options.schedule.patience = 0;
  options.schedule.factor = 0.5;
  AutogradTrainingLoop loop(scripted_model({1, 2, 0.5, 0.75, 9}), sgd(), options);
  ListSource training(toy_batch(8), 4);
  ListSource validation = one_batch();
  EXPECT_EQ(rates_of(loop.fit(training, &validation, scripted_loss)),
            (std::vector<double>{0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025}));
}

// The figure is a metric: an output of 3 against targets of 0 has mae 3.
TEST(Schedule, PlateauFollowsAMetric) {
  LoopOptions options = with_schedule("plateau", "epoch", 4);
  options.schedule.patience = 0;
  options.schedule.factor = 0.5;
  options.metrics = {"mae"};
  options.monitor = "mae";
  Batch zeros = toy_batch(4);
  zeros.target = zeros.target.reshape({4}).mul(0);
  AutogradTrainingLoop loop(scripted_model({-1, 3, -0.5, 2}), sgd(), options);
  ListSource training(zeros, 4);
  ListSource validation(zeros, 4);
  const FitResult result = loop.fit(training, &validation, scripted_loss);
  EXPECT_EQ(rates_of(result), (std::vector<double>{0.1, 0.1, 0.05, 0.05}));
  EXPECT_EQ(result.best, 0.5);
}

TEST(Schedule, ThatIsUnknownIsAnError) {
  EXPECT_ERROR_WITH("schedule.name is \"cosin\", allowed: none, step",
                    AutogradTrainingLoop(toy_model(), sgd(), with_schedule("cosin", "step", 1)));
}

}  // namespace
}  // namespace gradwise
