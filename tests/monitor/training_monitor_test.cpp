// The monitor on real trainings: what it sees, that nothing changes by it, its policies, its bad inputs.
#include "gradwise/monitor/training_monitor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "gradwise/train/loop.h"
#include "gradwise/train/losses.h"
#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"
#include "tests/train/list_source.h"
#include "tests/train/loop_settings.h"

namespace gradwise {
namespace {

// 4 inputs -> 8 relu -> 3 classes
Model classifier() {
  const at::Tensor w1 = random_tensor({4, 8}, 1).requires_grad_();
  const at::Tensor b1 = random_tensor({8}, 2).requires_grad_();
  const at::Tensor w2 = random_tensor({8, 3}, 3).requires_grad_();
  Model model;
  model.parameters = {{"layer.weight", "layer.bias", "head.weight"}, {w1, b1, w2}};
  model.forward = [w1, b1, w2](const Batch& batch) { return batch.input.matmul(w1).add(b1).relu().matmul(w2); };
  return model;
}

Batch class_batch(std::int64_t samples) {
  Batch batch = toy_batch(samples);
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < samples; ++i) {
    labels.push_back(i % 3);
  }
  batch.target = tensor_of<std::int64_t>(labels, {samples});
  return batch;
}

RunFacts class_facts() {
  RunFacts facts;
  facts.loss = "cross_entropy";
  facts.classes = 3;
  return facts;
}

MonitorOptions every_step() {
  MonitorOptions options;
  options.activations_every = options.batches_every = options.rules.every = options.record_every = 1;
  return options;
}

TEST(TrainingMonitor, SeesEverythingOfAStep) {
  OptimizerOptions sgd = plain_sgd();
  sgd.weight_decay = 0;
  AutogradTrainingLoop loop(classifier(), sgd, epochs(2));
  std::vector<Event> events;
  MonitorOptions options = every_step();
  options.gradients.histograms_every = 1;
  TrainingMonitor monitor(loop.model(), class_facts(), options, [&events](Event e) { events.push_back(std::move(e)); });
  loop.add_observer(monitor);
  ListSource source(class_batch(24), 8);
  const FitResult result = loop.fit(source, &source, make_loss("cross_entropy"));
  const History& history = monitor.history();
  ASSERT_EQ(history.steps().size(), 6U);
  EXPECT_EQ(history.validations.size(), 2U);
  EXPECT_NEAR(history.validations[0].train_loss,
              (result.history[0].losses[0] + result.history[0].losses[1] + result.history[0].losses[2]) / 3, 1e-12);
  const StepReading& last = *history.now().reading;
  EXPECT_EQ(last.step, 6);
  ASSERT_EQ(last.parameters.size(), 3U);
  double squares = 0;
  for (const ParameterReading& p : last.parameters) {
    squares += p.grad_norm * p.grad_norm;
    EXPECT_GT(p.weight_norm, 0);
    const double clipping = history.now().info.grad_norm_clipped / history.now().info.grad_norm;
    EXPECT_NEAR(p.update_norm, sgd.lr * clipping * p.grad_norm, 1e-3 * p.update_norm);
    EXPECT_FALSE(std::isnan(p.grad_cosine));
  }
  EXPECT_NEAR(std::sqrt(squares), history.now().info.grad_norm, 1e-5 * history.now().info.grad_norm);
  ASSERT_EQ(last.activations.size(), 1U);
  EXPECT_EQ(last.activations[0].layer, "layer");
  EXPECT_EQ(last.loss_path, (std::vector<std::string>{"log_softmax", "nll"}));
  ASSERT_TRUE(last.batch);
  EXPECT_EQ(last.batch->samples, 8);
  EXPECT_EQ(last.batch->labels, (std::vector<std::int64_t>{3, 3, 2}));
  EXPECT_EQ(last.histograms.size(), 3U);
  const auto watched = std::count_if(events.begin(), events.end(),
                                     [](const Event& e) { return std::holds_alternative<WatchedStep>(e.payload); });
  EXPECT_EQ(watched, 6);
}

// Steps of 8, 8 and 3 samples in turn, as ListSource moves its first batch from epoch to epoch; all of 8 where they are
// 24.
std::vector<std::shared_ptr<const StepReading>> recorded(std::int64_t samples, std::int64_t every) {
  AutogradTrainingLoop loop(classifier(), plain_sgd(), epochs(4));
  std::vector<std::shared_ptr<const StepReading>> readings;
  MonitorOptions options = every_step();
  options.record_every = options.activations_every = options.batches_every = every;
  options.gradients.histograms_every = every;
  TrainingMonitor monitor(loop.model(), class_facts(), options, [&readings](const Event& event) {
    if (const auto* watched = std::get_if<WatchedStep>(&event.payload)) {
      readings.push_back(watched->reading);
    }
  });
  loop.add_observer(monitor);
  ListSource source(class_batch(samples), 8);
  (void)loop.fit(source, nullptr, make_loss("cross_entropy"));
  EXPECT_EQ(monitor.history().steps().size(), 12U) << "rules see every step";
  return readings;
}

TEST(TrainingMonitor, RecordsTheNextFullStepInPlaceOfARaggedOne) {
  const auto steps_of = [](const std::vector<std::shared_ptr<const StepReading>>& readings) {
    std::vector<std::int64_t> steps;
    for (const auto& reading : readings) {
      steps.push_back(reading->step);
    }
    return steps;
  };
  EXPECT_EQ(steps_of(recorded(24, 5)), (std::vector<std::int64_t>{1, 5, 10}));
  EXPECT_EQ(steps_of(recorded(20, 5)), (std::vector<std::int64_t>{1, 5, 10})) << "4 of 8 are half";
  // Epoch e begins with batch e: the ragged ones are steps 3, 5, 7 and 12.
  const auto readings = recorded(19, 5);
  EXPECT_EQ(steps_of(readings), (std::vector<std::int64_t>{1, 6, 10}));
  for (const auto& reading : readings) {
    EXPECT_EQ(reading->activations.size(), 1U) << reading->step;
    ASSERT_TRUE(reading->batch) << reading->step;
    EXPECT_EQ(reading->batch->samples, 8) << reading->step;
    EXPECT_EQ(reading->histograms.size(), 3U) << reading->step;
  }
}

TEST(TrainingMonitor, LeavesTheTrainingsBitsAsTheyAre) {
  const auto train = [](bool watched) {
    const Model model = classifier();
    AutogradTrainingLoop loop(model, OptimizerOptions{}, epochs(3));
    MonitorOptions options = every_step();
    options.probe_every = 1;
    TrainingMonitor monitor(model, class_facts(), options);
    monitor.probe_with(make_loss("cross_entropy"));
    if (watched) {
      loop.add_observer(monitor);
    }
    ListSource source(class_batch(24), 8);
    (void)loop.fit(source, nullptr, make_loss("cross_entropy"));
    return copies_of(model.parameters.tensors);
  };
  expect_same_bits(train(true), train(false));
}

TEST(TrainingMonitor, ProbesWhatTheUpdateDidToItsOwnBatch) {
  const Model model = classifier();
  AutogradTrainingLoop loop(model, plain_sgd(), epochs(1));
  MonitorOptions options = every_step();
  options.probe_every = 1;
  TrainingMonitor monitor(model, class_facts(), options);
  monitor.probe_with(make_loss("cross_entropy"));
  const Batch batch = class_batch(24);
  std::vector<double> after;
  loop.add_observer(monitor);
  loop.on(Point::step_end, [&after, &model, &batch](const Moment&) {
    const at::NoGradGuard no_grad;
    after.push_back(make_loss("cross_entropy")(model.forward(batch), batch.target).item<double>());
    return Action::proceed;
  });
  ListSource source(batch, 24);
  (void)loop.fit(source, nullptr, make_loss("cross_entropy"));
  EXPECT_NEAR(monitor.history().now().reading->loss_after, after.at(0), 1e-6);
}

TEST(TrainingMonitor, ReadsTheGradientsOfLbfgsToo) {
  const Model model = classifier();
  AutogradTrainingLoop loop(model, OptimizerOptions{.name = "lbfgs", .lr = 0.5}, epochs(2));
  TrainingMonitor monitor(model, class_facts(), every_step());
  loop.add_observer(monitor);
  ListSource source(class_batch(24), 24);
  (void)loop.fit(source, nullptr, make_loss("cross_entropy"));
  EXPECT_FALSE(monitor.history().now().reading->parameters[0].missing);
  EXPECT_TRUE(monitor.diagnosis().findings().empty());
}

// Units with a bias of -100 never fire.
TEST(TrainingMonitor, NamesDeadUnitsAndTellsOnce) {
  const Model model = classifier();
  {
    const at::NoGradGuard no_grad;
    at::Tensor(model.parameters.tensors[1]).fill_(-100);
  }
  AutogradTrainingLoop loop(model, plain_sgd(), epochs(10));
  int told = 0;
  TrainingMonitor monitor(model, class_facts(), every_step(), [&told](const Event& event) {
    const auto* issue = std::get_if<Issue>(&event.payload);
    told += issue != nullptr && issue->rule == "dead_units" ? 1 : 0;
  });
  loop.add_observer(monitor);
  ListSource source(class_batch(24), 8);
  (void)loop.fit(source, nullptr, make_loss("cross_entropy"));
  EXPECT_EQ(told, 1);
  const std::vector<Finding> findings = monitor.diagnosis().findings();
  ASSERT_FALSE(findings.empty());
  EXPECT_EQ(findings[0].cause, "dead_units");
  EXPECT_EQ(findings[0].layer, "layer");
}

TEST(TrainingMonitor, StopsWhereAPolicySaysSo) {
  const Model model = classifier();
  {
    const at::NoGradGuard no_grad;
    at::Tensor(model.parameters.tensors[1]).fill_(-100);
  }
  AutogradTrainingLoop loop(model, plain_sgd(), epochs(10));
  MonitorOptions options = every_step();
  options.stop_on = {"dead_units"};
  TrainingMonitor monitor(model, class_facts(), options);
  loop.add_observer(monitor);
  ListSource source(class_batch(24), 8);
  const FitResult result = loop.fit(source, nullptr, make_loss("cross_entropy"));
  EXPECT_EQ(result.status, "stopped");
  EXPECT_EQ(result.steps, 3) << "the rule wants three readings";
}

TEST(TrainingMonitor, TakesARuleOfTheUsersOwn) {
  const Model model = classifier();
  TrainingMonitor monitor(model, class_facts(), every_step());
  Rule rule{.name = "always", .advice = "nothing"};
  rule.check = [](const History&, Sightings& seen) { seen.push_back({.message = "here"}); };
  monitor.rules().add(rule);
  EXPECT_ERROR_WITH("there is a rule \"always\" already", monitor.rules().add(rule));
}

TEST(TrainingMonitor, RefusesOptionsThatNameNoRule) {
  const Model model = classifier();
  const auto with = [&model](const auto& change) {
    MonitorOptions options;
    change(options);
    TrainingMonitor monitor(model, {}, options);
  };
  EXPECT_ERROR_WITH("there is no rule \"dead_unit\"; did you mean \"dead_units\"?",
                    with([](MonitorOptions& o) { o.rules.ignore = {"dead_unit"}; }));
  EXPECT_ERROR_WITH("sets holds \"sagemakers\", allowed: gradwise, sagemaker, autotrainer",
                    with([](MonitorOptions& o) { o.rules.sets = {"sagemakers"}; }));
  EXPECT_ERROR_WITH("dead_units has no parameter \"shares\"; did you mean \"share\"?",
                    with([](MonitorOptions& o) { o.rules.set = {"dead_units.shares=1"}; }));
  EXPECT_ERROR_WITH("dead_units.share is 2, allowed: from 0 to 1",
                    with([](MonitorOptions& o) { o.rules.set = {"dead_units.share=2"}; }));
  EXPECT_ERROR_WITH("set holds \"dead_units.share\", allowed: rule.parameter=number",
                    with([](MonitorOptions& o) { o.rules.set = {"dead_units.share"}; }));
  EXPECT_ERROR_WITH("\"nothing\" is not among the rules", with([](MonitorOptions& o) { o.stop_on = {"nothing"}; }));
  EXPECT_ERROR_WITH("did you mean \"dead_units\"?", with([](MonitorOptions& o) { o.skip_on = {"dead_unit"}; }));
}

}  // namespace
}  // namespace gradwise
