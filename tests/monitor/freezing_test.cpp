// Parameters that are frozen and unfrozen while they are watched: readings against ATen's operators, and no finding.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/monitor/training_monitor.h"
#include "gradwise/monitor/watch.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/train/loop.h"
#include "gradwise/train/losses.h"
#include "tests/optim/toy_model.h"
#include "tests/train/list_source.h"
#include "tests/train/loop_settings.h"

namespace gradwise {
namespace {

constexpr std::size_t kLower = 0;  // layer.weight
constexpr std::size_t kUpper = 2;  // head.weight

void expect_no_figures(const ParameterReading& seen) {
  EXPECT_FALSE(seen.missing);
  for (const double figure : {seen.grad_norm, seen.grad_cosine, seen.weight_norm, seen.update_norm}) {
    EXPECT_TRUE(std::isnan(figure)) << figure;
  }
}

// A step of plain gradient descent at a rate of 0.1; the reading of one parameter is compared with its gradient.
ParameterReading watched_step(const Model& model, Watch& watch, std::size_t index, unsigned int seed) {
  const Batch batch = toy_batch(8, seed);
  squared_error(model.forward(batch), batch.target).backward();
  (void)watch.step();
  double norm = kNotMeasured;
  {
    const at::NoGradGuard no_grad;
    for (const at::Tensor& parameter : model.parameters.tensors) {
      if (parameter.grad().defined()) {
        norm = parameter.is_same(model.parameters.tensors[index]) ? parameter.grad().norm().item<double>() : norm;
        at::Tensor(parameter).sub_(parameter.grad().mul(0.1));
        at::Tensor(parameter).mutable_grad().reset();
      }
    }
  }
  const ParameterReading seen = watch.after_update()[index];
  if (!std::isnan(norm)) {
    EXPECT_NEAR(seen.grad_norm, norm, 1e-6 * norm);
    EXPECT_NEAR(seen.update_norm, 0.1 * norm, 1e-5 * norm);
    EXPECT_NEAR(seen.weight_norm, model.parameters.tensors[index].norm().item<double>(), 1e-6 * seen.weight_norm);
  }
  return seen;
}

TEST(Freezing, IsTakenUpByAWatch) {
  const Model model = toy_model();
  const at::Tensor& lower = model.parameters.tensors[kLower];
  lower.requires_grad_(false);
  Watch watch(model.parameters, {.histograms_every = 1});
  expect_no_figures(watched_step(model, watch, kLower, 1));
  const std::int64_t version = watch.trained_version();

  lower.requires_grad_();
  EXPECT_TRUE(std::isnan(watched_step(model, watch, kLower, 2).grad_cosine)) << "nothing before it";
  EXPECT_TRUE(watch.trained()[kLower]);
  EXPECT_EQ(watch.trained_version(), version + 1);
  EXPECT_FALSE(std::isnan(watched_step(model, watch, kLower, 3).grad_cosine));

  lower.requires_grad_(false);
  expect_no_figures(watched_step(model, watch, kLower, 4));
  EXPECT_EQ(watch.histograms()[kLower], MagnitudeHistogram{});
  {
    const at::NoGradGuard no_grad;
    at::Tensor(lower).mul_(3);  // what it is frozen at may change
  }
  lower.requires_grad_();
  EXPECT_TRUE(std::isnan(watched_step(model, watch, kLower, 5).grad_cosine));
  EXPECT_FALSE(std::isnan(watched_step(model, watch, kLower, 6).grad_cosine));
}

TEST(Freezing, IsSeenWhereTheUpdateIsMeasured) {
  const Model model = toy_model();
  model.parameters.tensors[kLower].requires_grad_(false);
  AutogradOptimizer optimizer(model, {.name = "sgd", .lr = 0.1});
  Watch watch(model.parameters);
  std::vector<ParameterReading> seen;
  for (unsigned int step = 0; step < 6; ++step) {
    model.parameters.tensors[kLower].requires_grad_(step >= 2 && step < 4);
    const at::Tensor before = model.parameters.tensors[kLower].detach().clone();
    optimizer.accumulate(squared_error, toy_batch(8, step));
    (void)watch.step(1.0, /*measured_update=*/true);
    const StepInfo info = optimizer.finish_step();
    EXPECT_TRUE(info.issues.empty()) << info.issues.front().message;
    const ParameterReading now = watch.after_update(optimizer.weight_moments())[kLower];
    if (step < 2 || step >= 4) {
      expect_no_figures(now);
    } else {
      const double update = model.parameters.tensors[kLower].detach().sub(before).norm().item<double>();
      EXPECT_NEAR(now.update_norm, update, 1e-5 * update);
    }
  }
}

TEST(Freezing, IsForeverWhereAParameterIsOfIntegers) {
  Model model = toy_model();
  model.parameters.add("steps", random_tensor({3}, 1).to(at::kLong));
  Watch watch(model.parameters);
  expect_no_figures(watched_step(model, watch, 4, 1));
  EXPECT_FALSE(watch.trained()[4]);
}

struct Unfreezing {
  const char* name;
  const char* implementation;
  bool in_backward;
};

class GradualUnfreezing : public testing::TestWithParam<Unfreezing> {};

// From the head down, then the head is frozen again: 60 steps of each, more than a rule looks back.
TEST_P(GradualUnfreezing, BringsNoFinding) {
  constexpr std::int64_t kSteps = 60;
  const Model model = toy_model();
  model.parameters.tensors[kLower].requires_grad_(false);
  LoopOptions options = epochs(3 * kSteps);
  options.step.in_backward = GetParam().in_backward;
  AutogradTrainingLoop loop(
      model, OptimizerOptions{.name = "adamw", .implementation = GetParam().implementation, .lr = 1e-3}, options);
  MonitorOptions every_step;
  every_step.record_every = every_step.rules.every = 1;
  std::vector<Issue> told;
  std::vector<std::shared_ptr<const RunFacts>> facts;
  TrainingMonitor monitor(model, {}, every_step, [&](const Event& event) {
    if (const auto* issue = std::get_if<Issue>(&event.payload)) {
      told.push_back(*issue);
    } else if (const auto* seen = std::get_if<WatchedStep>(&event.payload)) {
      facts.push_back(seen->facts);
    }
  });
  loop.add_observer(monitor);
  loop.on(Point::batch_start, [&model](const Moment& moment) {
    model.parameters.tensors[kLower].requires_grad_(moment.step >= kSteps);
    model.parameters.tensors[kUpper].requires_grad_(moment.step < 2 * kSteps);
    return Action::proceed;
  });
  std::vector<ParameterReading> lower;
  std::vector<ParameterReading> upper;
  loop.on(Point::step_end, [&](const Moment& moment) {
    const auto& info = std::get<StepInfo>(moment.event->payload);
    told.insert(told.end(), info.issues.begin(), info.issues.end());
    lower.push_back(monitor.history().now().reading->parameters[kLower]);
    upper.push_back(monitor.history().now().reading->parameters[kUpper]);
    return Action::proceed;
  });
  ListSource source(toy_batch(8), 8);
  (void)loop.fit(source, nullptr, make_loss("mse"));

  ASSERT_EQ(lower.size(), static_cast<std::size_t>(3 * kSteps));
  expect_no_figures(lower[kSteps - 1]);
  EXPECT_GT(lower[kSteps].grad_norm, 0);
  EXPECT_GT(lower[kSteps].update_norm, 0);
  EXPECT_GT(upper[2 * kSteps - 1].grad_norm, 0);
  expect_no_figures(upper[2 * kSteps]);
  EXPECT_TRUE(monitor.history().facts.parameters[kLower].trainable);
  EXPECT_FALSE(monitor.history().facts.parameters[kUpper].trainable);
  EXPECT_FALSE(facts.front()->parameters[kLower].trainable);
  EXPECT_TRUE(facts.back()->parameters[kLower].trainable);
  for (const Issue& issue : told) {
    const std::vector<std::string> false_ones = {"missing_gradient", "frozen_layer", "no_gradient"};
    EXPECT_EQ(std::ranges::count(false_ones, issue.rule), 0) << issue.message << ", step " << issue.step;
  }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, GradualUnfreezing,
                         testing::Values(Unfreezing{"gradwise", "gradwise", false}, Unfreezing{"torch", "torch", false},
                                         Unfreezing{"in_backward", "gradwise", true}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace gradwise
