#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <numbers>
#include <string>
#include <utility>

#include "gradwise/optim/composed_schedules.h"
#include "gradwise/optim/cosine_schedules.h"
#include "gradwise/optim/cycle_schedules.h"
#include "gradwise/optim/decay_schedules.h"
#include "gradwise/optim/plateau_schedule.h"
#include "gradwise/optim/scheduler_factory.h"
#include "gradwise/optim/step_schedules.h"

namespace gradwise {
namespace {

std::vector<Rate> two_groups() {
  std::vector<Rate> rates(2);
  rates[0].lr = 0.1;
  rates[1].lr = 0.02;
  rates[0].momentum = rates[1].momentum = 0.9;
  return rates;
}

std::vector<Rate> without_momentum() {
  std::vector<Rate> rates = two_groups();
  rates[0].momentum = rates[1].momentum = kUnset;
  return rates;
}

/// The message of the Error that `act` throws, or "" where it throws none.
std::string message_of(const std::function<void(std::vector<Rate>&)>& act, std::vector<Rate> rates = two_groups()) {
  try {
    act(rates);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

struct BadCall {
  const char* name;
  std::function<void(std::vector<Rate>&)> act;
  std::vector<std::string> parts;  // of the message
};

class SchedulerErrors : public testing::TestWithParam<BadCall> {};

TEST_P(SchedulerErrors, NamePlaceAndValue) {
  const std::string message = message_of(GetParam().act);
  for (const std::string& part : GetParam().parts) {
    EXPECT_NE(message.find(part), std::string::npos) << "no \"" << part << "\" in \"" << message << '"';
  }
}

SchedulerList exponential_and_other_rates(std::vector<Rate>& rates, std::vector<Rate>& others) {
  return scheduler_list(std::make_unique<ExponentialLR>(rates, ExponentialLrOptions{.gamma = 0.9}),
                        std::make_unique<ExponentialLR>(others, ExponentialLrOptions{.gamma = 0.9}));
}

SchedulerList two_exponentials(std::vector<Rate>& rates) { return exponential_and_other_rates(rates, rates); }

const BadCall kBadCalls[] = {
    {"step_size", [](std::vector<Rate>& r) { StepLR(r, {}); }, {"[step_lr]", "step_size is 0", ">= 1"}},
    {"gamma", [](std::vector<Rate>& r) { ExponentialLR(r, {.gamma = -1}); }, {"[exponential_lr]", "gamma is -1"}},
    {"no_milestones", [](std::vector<Rate>& r) { MultiStepLR(r, {}); }, {"[multi_step_lr]", "milestones"}},
    {"constant_factor", [](std::vector<Rate>& r) { ConstantLR(r, {.factor = 1.5}); }, {"factor is 1.5", "<= 1"}},
    {"start_factor", [](std::vector<Rate>& r) { LinearLR(r, {.start_factor = 0}); }, {"[linear_lr]", "start_factor"}},
    {"end_factor", [](std::vector<Rate>& r) { LinearLR(r, {.end_factor = 2}); }, {"end_factor is 2", "0 to 1"}},
    {"polynomial", [](std::vector<Rate>& r) { PolynomialLR(r, {.total_iters = 0}); }, {"total_iters is 0"}},
    {"t_max", [](std::vector<Rate>& r) { CosineAnnealingLR(r, {}); }, {"[cosine_annealing_lr]", "t_max is 0"}},
    {"t_0", [](std::vector<Rate>& r) { CosineAnnealingWarmRestarts(r, {.t_0 = -3}); }, {"t_0 is -3"}},
    {"t_mult", [](std::vector<Rate>& r) { CosineAnnealingWarmRestarts(r, {.t_0 = 3, .t_mult = 0}); }, {"t_mult is 0"}},
    {"max_lr",
     [](std::vector<Rate>& r) {
       OneCycleLR(r, {.max_lr = {1, 2, 3}, .total_steps = 9});
     },
     {"max_lr has 3 values", "2 parameter groups"}},
    {"total_steps", [](std::vector<Rate>& r) { OneCycleLR(r, {.max_lr = {1}}); }, {"total_steps is 0"}},
    {"anneal",
     [](std::vector<Rate>& r) { OneCycleLR(r, {.max_lr = {1}, .total_steps = 9, .anneal_strategy = "x"}); },
     {"anneal_strategy is \"x\"", "cos, linear"}},
    {"no_length",
     [](std::vector<Rate>& r) { OneCycleLR(r, {.max_lr = {1}, .total_steps = 10, .pct_start = 0.1}); },
     {"[one_cycle_lr]", "pct_start is 0.1", "total_steps = 10"}},
    {"mode",
     [](std::vector<Rate>& r) { CyclicLR(r, {.base_lr = {0.1}, .max_lr = {1}, .mode = "round"}); },
     {"mode is \"round\"", "triangular2"}},
    {"no_base_lr", [](std::vector<Rate>& r) { CyclicLR(r, {.max_lr = {1}}); }, {"base_lr has 0 values"}},
    {"plateau_factor",
     [](std::vector<Rate>& r) { ReduceLROnPlateau(r, {.factor = 1}); },
     {"[reduce_lr_on_plateau]", "factor is 1", "below 1"}},
    {"no_metric", [](std::vector<Rate>& r) { ReduceLROnPlateau(r).step(); }, {"no metric"}},
    {"lambdas", [](std::vector<Rate>& r) { LambdaLR(r, {}); }, {"[lambda_lr]", "0 functions"}},
    {"empty_lambda",
     [](std::vector<Rate>& r) { MultiplicativeLR(r, {.lr_lambda = {LrLambda()}}); },
     {"[multiplicative_lr]", "empty"}},
    {"nothing_chained", [](std::vector<Rate>& r) { ChainedScheduler(r, {}); }, {"[chained_scheduler]", "empty"}},
    {"other_rates",
     [](std::vector<Rate>& r) {
       std::vector<Rate> others = two_groups();
       ChainedScheduler(r, exponential_and_other_rates(r, others));
     },
     {"scheduler 1 works on other rates"}},
    {"milestone_count",
     [](std::vector<Rate>& r) { SequentialLR(r, two_exponentials(r), {}); },
     {"milestones has 0 steps for 2 schedulers"}},
    {"milestone_sign", [](std::vector<Rate>& r) { SequentialLR(r, two_exponentials(r), {-1}); }, {"negative"}},
    {"composed_part",
     [](std::vector<Rate>& r) {
       SequentialLR(
           r,
           scheduler_list(std::make_unique<ConstantLR>(r), std::make_unique<ChainedScheduler>(r, two_exponentials(r))),
           {5});
     },
     {"scheduler 1 is made of others"}},
};

INSTANTIATE_TEST_SUITE_P(All, SchedulerErrors, testing::ValuesIn(kBadCalls),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Scheduler, CyclingMomentumNeedsOne) {
  const auto one_cycle = [](std::vector<Rate>& r) { OneCycleLR(r, {.max_lr = {1}, .total_steps = 9}); };
  const auto cyclic = [](std::vector<Rate>& r) { CyclicLR(r, {.base_lr = {0.1}, .max_lr = {1}}); };
  EXPECT_NE(message_of(one_cycle, without_momentum()).find("neither momentum nor beta1"), std::string::npos);
  EXPECT_NE(message_of(cyclic, without_momentum()).find("neither momentum nor beta1"), std::string::npos);
  EXPECT_EQ(message_of(one_cycle), "");
  EXPECT_EQ(message_of(cyclic), "");
}

TEST(Scheduler, OneCycleEnds) {
  std::vector<Rate> rates = two_groups();
  OneCycleLR schedule(rates, {.max_lr = {1}, .total_steps = 5});
  for (int i = 0; i < 5; ++i) {
    schedule.step();
  }
  EXPECT_THROW(schedule.step(), Error);
}

TEST(Scheduler, LambdaGetsTheStepAndTheInitialRate) {
  std::vector<Rate> rates = two_groups();
  std::vector<std::int64_t> asked;
  const LrLambda half = [](std::int64_t) { return 0.5; };
  const LrLambda rising = [&asked](std::int64_t step) {
    asked.push_back(step);
    return static_cast<double>(step);
  };
  LambdaLR schedule(rates, {.lr_lambda = {half, rising}});
  schedule.step();
  schedule.step();
  EXPECT_EQ(asked, (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(rates[0].lr, 0.05);
  EXPECT_EQ(rates[1].lr, 0.04);
}

TEST(Scheduler, MultiplicativeLeavesTheFirstRateAlone) {
  std::vector<Rate> rates = two_groups();
  MultiplicativeLR schedule(rates, {.lr_lambda = {[](std::int64_t) { return 0.5; }}});
  EXPECT_EQ(rates[0].lr, 0.1);
  schedule.step();
  schedule.step();
  EXPECT_EQ(rates[0].lr, 0.025);
  EXPECT_EQ(rates[1].lr, 0.005);
}

TEST(Scheduler, StateOfAnotherKindIsRefused) {
  std::vector<Rate> rates = two_groups();
  StepLR step(rates, {.step_size = 3});
  CosineAnnealingWarmRestarts restarts(rates, {.t_0 = 5});
  const std::string missing = message_of([&](std::vector<Rate>&) { restarts.load_state(step.state()); });
  EXPECT_NE(missing.find("T_cur"), std::string::npos) << missing;
  std::vector<Rate> one(1);
  StepLR narrow(one, {.step_size = 3});
  const std::string shorter = message_of([&](std::vector<Rate>&) { narrow.load_state(step.state()); });
  EXPECT_NE(shorter.find("expected 1 numbers"), std::string::npos) << shorter;
  EXPECT_THROW(step.load_state(nlohmann::json(3)), Error);
}

/// Rates of the first group, the first `steps + 1` of them.
std::vector<double> first_rates(Scheduler* schedule, const std::vector<Rate>& rates, int steps) {
  std::vector<double> values = {rates[0].lr};
  for (int i = 0; i < steps; ++i) {
    schedule->step();
    values.push_back(rates[0].lr);
  }
  return values;
}

TEST(ScheduleFactory, UnknownNameListsTheKnown) {
  const std::string message = message_of([](std::vector<Rate>& r) {
    ScheduleOptions options;
    options.name = "cosin";
    [[maybe_unused]] const auto schedule = make_scheduler(options, r, 10);
  });
  EXPECT_NE(message.find("did you mean \"cosine\"?"), std::string::npos) << message;
  for (const std::string& name : schedule_names()) {
    EXPECT_NE(message.find(name), std::string::npos) << name;
  }
}

TEST(ScheduleFactory, NoneIsNoScheduler) {
  std::vector<Rate> rates = two_groups();
  EXPECT_EQ(make_scheduler({}, rates, 10), nullptr);
  EXPECT_EQ(rates[0].lr, 0.1);
}

TEST(ScheduleFactory, EveryNameMakesAScheduler) {
  for (const std::string& name : schedule_names()) {
    std::vector<Rate> rates = two_groups();
    ScheduleOptions options;
    options.name = name;
    options.step_size = 4;
    options.milestones = {3, 6};
    options.gamma = 0.9;
    options.t_0 = 5;
    options.warmup_steps = name == "plateau" ? 0 : 2;
    const auto schedule = make_scheduler(options, rates, 20);
    ASSERT_NE(schedule, nullptr) << name;
    EXPECT_EQ(schedule->wants_metric(), name == "plateau") << name;
    for (int i = 0; i < 20; ++i) {
      schedule->step(1.0);
      EXPECT_TRUE(std::isfinite(rates[0].lr) && rates[0].lr >= 0) << name;
    }
  }
}

// The closed form of a linear warm-up and half a cosine.
TEST(ScheduleFactory, WarmupThenCosine) {
  std::vector<Rate> rates = two_groups();
  ScheduleOptions options;
  options.name = "cosine";
  options.warmup_steps = 10;
  options.min_lr = 0.001;
  const auto schedule = make_scheduler(options, rates, 110);
  const std::vector<double> values = first_rates(schedule.get(), rates, 110);
  for (int step = 0; step <= 110; ++step) {
    const double angle = std::numbers::pi * (step - 10) / 100.0;
    const double expected = step < 10 ? 0.1 * (0.01 + 0.99 * step / 10.0) : 0.001 + 0.099 * (1 + std::cos(angle)) / 2;
    EXPECT_NEAR(values[static_cast<std::size_t>(step)], expected, 1e-12) << step;
  }
}

TEST(ScheduleFactory, NoneWithWarmupStaysAtTheRate) {
  std::vector<Rate> rates = two_groups();
  ScheduleOptions options;
  options.warmup_steps = 4;
  const auto schedule = make_scheduler(options, rates, 0);
  const std::vector<double> values = first_rates(schedule.get(), rates, 8);
  EXPECT_NEAR(values[0], 0.001, 1e-15);
  EXPECT_NEAR(values[2], 0.1 * (0.01 + 0.99 / 2), 1e-15);
  EXPECT_NEAR(values[8], 0.1, 1e-15);
}

TEST(ScheduleFactory, LinearEndsAtTheLeastRate) {
  std::vector<Rate> rates = two_groups();
  ScheduleOptions options;
  options.name = "linear";
  options.min_lr = 0.01;
  options.total_steps = 50;
  const auto schedule = make_scheduler(options, rates, 1000);
  EXPECT_NEAR(first_rates(schedule.get(), rates, 60).back(), 0.01, 1e-14);
  EXPECT_NEAR(rates[1].lr, 0.002, 1e-14);
}

TEST(ScheduleFactory, OneCycleClimbsToTheOptimizersRate) {
  std::vector<Rate> rates = two_groups();
  ScheduleOptions options;
  options.name = "one_cycle";
  options.pct_start = 0.5;
  const auto schedule = make_scheduler(options, rates, 100);
  const std::vector<double> values = first_rates(schedule.get(), rates, 99);
  EXPECT_NEAR(values[0], 0.1 / 25, 1e-15);
  EXPECT_NEAR(values[49], 0.1, 1e-15);
  EXPECT_NEAR(values[99], 0.1 / 25 / 1e4, 1e-15);
}

TEST(ScheduleFactory, ValuesThatDontGoTogether) {
  ScheduleOptions cosine;
  cosine.name = "cosine";
  const auto make = [](const ScheduleOptions& options, std::int64_t steps) {
    std::vector<Rate> rates = two_groups();
    try {
      [[maybe_unused]] const auto schedule = make_scheduler(options, rates, steps);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(make(cosine, -1).find("set total_steps"), std::string::npos);
  cosine.warmup_steps = 20;
  EXPECT_NE(make(cosine, 20).find("warmup_steps is 20"), std::string::npos);
  EXPECT_EQ(make(cosine, 21), "");
  ScheduleOptions plateau;
  plateau.name = "plateau";
  plateau.warmup_steps = 1;
  EXPECT_NE(make(plateau, 20).find("warmup_steps is 1"), std::string::npos);
  ScheduleOptions per;
  per.per = "day";
  EXPECT_NE(make(per, 20).find("per is \"day\""), std::string::npos);
}

}  // namespace
}  // namespace gradwise
