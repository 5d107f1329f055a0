#include "gradwise/train/early_stopping.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gradwise/train/loop.h"
#include "tests/train/scripted_model.h"

namespace gradwise {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct StoppingCase {
  std::vector<double> figures;
  bool larger_is_better;
  double min_delta;
  std::int64_t patience;
  std::int64_t stops_after;  ///< figures; -1: never
  double best;
  std::int64_t best_step;
};

TEST(EarlyStopping, FollowsTheFigures) {
  const StoppingCase cases[] = {
      {{3, 2, 2.5, 2.6, 1}, false, 0, 2, 4, 2, 1}, {{3, 2, 2.5, 1.5, 1.6, 1.7}, false, 0, 2, 6, 1.5, 3},
      {{3, 2, 1}, false, 0, 1, -1, 1, 2},          {{0.5, 0.7, 0.6, 0.65}, true, 0, 2, 4, 0.7, 1},
      {{3, 2.75, 2.5, 2}, false, 0.5, 2, 3, 3, 0}, {{3, 2.75, 2.25}, false, 0.5, 2, -1, 2.25, 2},
      {{3, 3, 3}, false, 0, 2, 3, 3, 0},           {{kNan, 2, kNan, kNan}, false, 0, 2, 4, 2, 1},
      {{1, 2, 3, 4, 5}, false, 0, 0, -1, 1, 0}};
  for (const StoppingCase& c : cases) {
    EarlyStopping stopping({.patience = c.patience, .min_delta = c.min_delta}, c.larger_is_better);
    std::int64_t stopped = -1;
    for (std::size_t i = 0; i < c.figures.size() && stopped < 0; ++i) {
      (void)stopping.update(c.figures[i], static_cast<std::int64_t>(i));
      stopped = stopping.should_stop() ? static_cast<std::int64_t>(i) + 1 : -1;
    }
    EXPECT_EQ(stopped, c.stops_after);
    EXPECT_EQ(stopping.best(), c.best);
    EXPECT_EQ(stopping.best_step(), c.best_step);
  }
}

TEST(EarlyStopping, StateContinues) {
  EarlyStopping stopping({.patience = 3, .min_delta = 0}, false);
  (void)stopping.update(1, 10);
  (void)stopping.update(2, 20);
  EarlyStopping continued({.patience = 3, .min_delta = 0}, false);
  continued.load_state(stopping.state());
  EXPECT_EQ(continued.best(), 1);
  EXPECT_EQ(continued.best_step(), 10);
  EXPECT_FALSE(continued.update(3, 30) || continued.should_stop());
  EXPECT_FALSE(continued.update(3, 40));
  EXPECT_TRUE(continued.should_stop());
}

TEST(EarlyStopping, StateBeforeTheFirstFigureContinues) {
  EarlyStopping continued({}, false);
  continued.load_state(EarlyStopping({}, false).state());
  EXPECT_TRUE(std::isnan(continued.best()));
  EXPECT_TRUE(continued.update(5, 1));
}

TEST(EarlyStoppingInFit, EndsTheTraining) {
  LoopOptions options;
  options.epochs = 10;
  options.early_stopping.patience = 2;
  AutogradTrainingLoop loop(scripted_model({3, 2, 2.5, 2.75, 1}), OptimizerOptions(), options);
  ListSource training(toy_batch(8), 4);
  ListSource validation = one_batch();
  const FitResult result = loop.fit(training, &validation, scripted_loss);
  EXPECT_EQ(result.status, "stopped");
  EXPECT_EQ(result.reason, "loss did not improve in 2 validations");
  EXPECT_EQ(result.limit, "early_stopping.patience");
  EXPECT_EQ(result.epochs, 4);
  EXPECT_EQ(result.best, 2);
  EXPECT_EQ(result.best_step, 4);  // two epochs of two steps
}

TEST(EarlyStoppingInFit, CountsValidationsNotEpochs) {
  LoopOptions options;
  options.epochs = 20;
  options.validate_every = 3;
  options.early_stopping.patience = 1;
  AutogradTrainingLoop loop(scripted_model({1, 2}), OptimizerOptions(), options);
  ListSource training = one_batch();
  ListSource validation = one_batch();
  EXPECT_EQ(loop.fit(training, &validation, scripted_loss).epochs, 6);
}

TEST(EarlyStoppingInFit, MarksTheBestValidations) {
  LoopOptions options;
  options.epochs = 5;
  AutogradTrainingLoop loop(scripted_model({3, 4, 2, 2, 1}), OptimizerOptions(), options);
  std::vector<bool> best;
  std::vector<double> losses;
  loop.on(Point::validation_end, [&best, &losses](const Moment& moment) {
    const auto& seen = std::get<Validated>(moment.event->payload);
    best.push_back(seen.best);
    losses.push_back(seen.loss);
    return Action::proceed;
  });
  ListSource training = one_batch();
  ListSource validation = one_batch();
  (void)loop.fit(training, &validation, scripted_loss);
  EXPECT_EQ(losses, (std::vector<double>{3, 4, 2, 2, 1}));
  EXPECT_EQ(best, (std::vector<bool>{true, false, true, false, true}));
}

}  // namespace
}  // namespace gradwise
