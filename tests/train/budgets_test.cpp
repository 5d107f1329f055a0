#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gradwise/train/loop.h"
#include "tests/train/list_source.h"
#include "tests/train/loop_settings.h"

namespace gradwise {
namespace {

TEST(Budgets, MaxStepsEndsInMidEpoch) {
  LoopOptions options = epochs(10);
  options.max_steps = 5;
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop loop(toy_model(), OptimizerOptions(), options);
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(result.status, "stopped");
  EXPECT_EQ(result.reason, "max_steps = 5 is reached");
  EXPECT_EQ(result.steps, 5);
  EXPECT_EQ(result.epochs, 1);
  ASSERT_EQ(result.history.size(), 2U);
  EXPECT_TRUE(result.history[0].complete);
  EXPECT_FALSE(result.history[1].complete);
  EXPECT_EQ(result.history[1].losses.size(), 2U);
}

TEST(Budgets, MaxStepsCountsOptimizerSteps) {
  LoopOptions options = epochs(10);
  options.max_steps = 3;
  options.accumulate = 2;
  ListSource source(toy_batch(16), 4);
  AutogradTrainingLoop loop(toy_model(), OptimizerOptions(), options);
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(result.steps, 3);
  EXPECT_EQ(result.history[1].samples, 8);
}

TEST(Budgets, AStepBudgetLargerThanTheTrainingChangesNothing) {
  LoopOptions options = epochs(2);
  options.max_steps = 100;
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop loop(toy_model(), OptimizerOptions(), options);
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(result.status, "finished");
  EXPECT_EQ(result.steps, 6);
}

TEST(Budgets, MaxSecondsEndsTheTraining) {
  LoopOptions options = epochs(1000000);
  options.max_seconds = 1e-9;  // over before the first step
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop loop(toy_model(), OptimizerOptions(), options);
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(result.status, "stopped");
  EXPECT_EQ(result.reason, "max_seconds is reached");
  EXPECT_LE(result.steps, 1);
}

TEST(Budgets, AStepBudgetThatEndsTheTrainingStillValidates) {
  LoopOptions options = epochs(10);
  options.max_steps = 2;
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop loop(toy_model(), OptimizerOptions(), options);
  std::int64_t validations = 0;
  loop.on(Point::validation_end, [&validations](const Moment&) {
    ++validations;
    return Action::proceed;
  });
  const FitResult result = loop.fit(source, &source, squared_error);
  EXPECT_EQ(validations, 1);
  EXPECT_EQ(result.best_step, 2);
}

TEST(RequestStop, EndsAfterTheStepUnderWay) {
  ListSource source(toy_batch(20), 4);
  AutogradTrainingLoop loop(toy_model(), OptimizerOptions(), epochs(10));
  loop.on(Point::batch_start, [&loop](const Moment& moment) {
    if (moment.step == 2) {
      loop.request_stop();
    }
    return Action::proceed;
  });
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(result.status, "interrupted");
  EXPECT_EQ(result.reason, "a stop was requested");
  EXPECT_EQ(result.steps, 3);
  EXPECT_EQ(result.epochs, 0);
}

}  // namespace
}  // namespace gradwise
