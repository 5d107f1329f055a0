#include "gradwise/train/loop.h"

#include <ATen/Context.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/data/error_of.h"
#include "tests/train/list_source.h"

namespace gradwise {
namespace {

OptimizerOptions sgd(double lr, double momentum = 0) {
  OptimizerOptions options;
  options.name = "sgd";
  options.lr = lr;
  options.momentum = momentum;
  options.weight_decay = 0;
  return options;
}

LoopOptions without_clipping() {
  LoopOptions options;
  options.step.clip.method = "none";
  return options;
}

/// The loop by hand: plain gradient descent with momentum, a step for each `accumulate` batches.
struct HandLoop {
  Model model = toy_model();
  std::vector<at::Tensor> velocity;
  std::vector<double> losses;
  std::vector<double> norms;

  void step(const std::vector<Batch>& window, double lr, double momentum, double max_norm) {
    double samples = 0;
    for (const Batch& batch : window) {
      samples += static_cast<double>(batch.size());
    }
    double mean_loss = 0;
    for (const Batch& batch : window) {
      const at::Tensor loss = squared_error(model.forward(batch), batch.target);
      const double share = static_cast<double>(batch.size()) / samples;
      loss.mul(share).backward();
      mean_loss += loss.item<double>() * share;
    }
    losses.push_back(mean_loss);
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& parameter : model.parameters.tensors) {
      gradients.push_back(parameter.grad().clone());
      at::Tensor(parameter).mutable_grad().reset();
    }
    norms.push_back(norm_of(gradients));
    update(gradients, std::min(1.0, max_norm / (norms.back() + 1e-6)), lr, momentum);
  }

  void update(const std::vector<at::Tensor>& gradients, double factor, double lr, double momentum) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      const at::Tensor gradient = factor < 1 ? gradients[i].mul(factor) : gradients[i];
      if (velocity.size() <= i) {
        velocity.push_back(gradient.clone());
      } else {
        velocity[i].mul_(momentum).add_(gradient);
      }
      at::Tensor(model.parameters.tensors[i]).add_(momentum > 0 ? velocity[i] : gradient, -lr);
    }
  }
};

constexpr double kNoBound = std::numeric_limits<double>::infinity();

TEST(TrainEpoch, EqualsALoopByHandBitForBit) {
  ListSource source(toy_batch(22), 4);  // five batches of 4 and one of 2
  const Model model = toy_model();
  AutogradTrainingLoop loop(model, sgd(0.05, 0.9), without_clipping());
  HandLoop by_hand;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    const EpochStats stats = loop.train_epoch(source, squared_error);
    by_hand.losses.clear();
    by_hand.norms.clear();
    for (std::int64_t i = 0; i < 6; ++i) {
      by_hand.step({source.batch_at(epoch, i)}, 0.05, 0.9, kNoBound);
    }
    expect_same_bits(model.parameters.tensors, by_hand.model.parameters.tensors);
    EXPECT_EQ(stats.epoch, epoch);
    EXPECT_EQ(stats.losses, by_hand.losses);
    ASSERT_EQ(stats.grad_norms.size(), 6U);
    for (std::size_t i = 0; i < 6; ++i) {
      EXPECT_NEAR(stats.grad_norms[i], by_hand.norms[i], 1e-5 * by_hand.norms[i]);
    }
    EXPECT_EQ(stats.learning_rates, std::vector<double>(6, 0.05));
    EXPECT_EQ(stats.samples, 22);
    EXPECT_EQ(stats.clipped_steps, 0);
    EXPECT_EQ(stats.skipped_steps, 0);
    EXPECT_TRUE(stats.complete);
    EXPECT_GT(stats.seconds, 0);
    EXPECT_DOUBLE_EQ(stats.samples_per_second, 22 / stats.seconds);
  }
  EXPECT_EQ(loop.steps(), 18);
}

// One large intermediate result, which backward needs and frees.
TEST(TrainEpoch, MeasuresTheMemoryOfEachStep) {
  constexpr std::int64_t kElements = 1 << 20;
  Model model = toy_model();
  const std::function<at::Tensor(const Batch&)> forward = model.forward;
  std::int64_t calls = 0;
  model.forward = [&calls, forward](const Batch& batch) {
    const at::Tensor output = forward(batch);
    const std::int64_t times = ++calls;  // the second step takes twice as much
    return output.add(output.mean().mul(0).expand({times * kElements}).exp().sub(1).sum());
  };
  for (const bool measure : {true, false}) {
    ListSource source(toy_batch(8), 4);
    LoopOptions options = without_clipping();
    options.measure_memory = measure;
    AutogradTrainingLoop loop(model, sgd(0.05), options);
    std::vector<double> peaks;
    loop.on(Point::step_end, [&](const Moment& moment) {
      peaks.push_back(std::get<StepInfo>(moment.event->payload).peak_bytes);
      return Action::proceed;
    });
    calls = 0;
    const EpochStats stats = loop.train_epoch(source, squared_error);
    ASSERT_EQ(peaks.size(), 2U);
    if (!measure) {
      EXPECT_TRUE(std::isnan(peaks[0]) && std::isnan(stats.peak_bytes));
      continue;
    }
    // What exp gives is kept for backward, and what sub makes of it is there at the same time.
    for (const double step : {1.0, 2.0}) {
      const double bytes = 2 * step * static_cast<double>(kElements) * sizeof(float);
      EXPECT_GE(peaks[static_cast<std::size_t>(step) - 1], bytes);
      EXPECT_LT(peaks[static_cast<std::size_t>(step) - 1], 1.6 * bytes);
    }
    EXPECT_EQ(stats.peak_bytes, peaks[1]);
  }
}

TEST(TrainEpoch, ClipsAsAsked) {
  ListSource source(toy_batch(16), 4);
  const Model model = toy_model();
  AutogradTrainingLoop loop(model, sgd(0.05));
  HandLoop by_hand;
  const EpochStats stats =
      loop.train_epoch(source, squared_error, at::kCPU, ClipRequest{.clip_gradients = true, .max_grad_norm = 0.25});
  std::int64_t clipped = 0;
  for (std::int64_t i = 0; i < 4; ++i) {
    by_hand.step({source.batch_at(0, i)}, 0.05, 0, 0.25);
    clipped += by_hand.norms.back() > 0.25 ? 1 : 0;
  }
  expect_close(model.parameters.tensors, by_hand.model.parameters.tensors, 1e-6);
  EXPECT_EQ(stats.clipped_steps, clipped);
  EXPECT_GT(clipped, 0);
}

struct AccumulationCase {
  std::int64_t samples;
  std::int64_t accumulate;
  std::vector<std::vector<std::int64_t>> windows;  ///< batches of each step
};

// Batches of 4; the last may hold fewer samples, the last window fewer batches.
TEST(TrainEpoch, AccumulatesWithARaggedEnd) {
  const AccumulationCase cases[] = {
      {16, 2, {{0, 1}, {2, 3}}}, {18, 2, {{0, 1}, {2, 3}, {4}}}, {22, 4, {{0, 1, 2, 3}, {4, 5}}}, {10, 8, {{0, 1, 2}}}};
  for (const AccumulationCase& c : cases) {
    ListSource source(toy_batch(c.samples), 4);
    LoopOptions options = without_clipping();
    options.accumulate = c.accumulate;
    const Model model = toy_model();
    AutogradTrainingLoop loop(model, sgd(0.1), options);
    const EpochStats stats = loop.train_epoch(source, squared_error);
    HandLoop by_hand;
    for (const std::vector<std::int64_t>& window : c.windows) {
      std::vector<Batch> batches;
      for (const std::int64_t position : window) {
        batches.push_back(source.batch_at(0, position));
      }
      by_hand.step(batches, 0.1, 0, kNoBound);
    }
    expect_close(model.parameters.tensors, by_hand.model.parameters.tensors, 2e-6);
    ASSERT_EQ(stats.losses.size(), c.windows.size());
    for (std::size_t i = 0; i < c.windows.size(); ++i) {
      EXPECT_NEAR(stats.losses[i], by_hand.losses[i], 2e-6);
    }
    EXPECT_EQ(stats.samples, c.samples);
  }
}

TEST(Modes, AreSetAndRestored) {
  for (const bool before : {true, false}) {
    const auto training = std::make_shared<bool>(before);
    const auto seen = std::make_shared<std::vector<bool>>();
    Model model = toy_model();
    model.set_training = [training](bool value) { *training = value; };
    model.is_training = [training] { return *training; };
    model.forward = [training, seen, inner = model.forward](const Batch& batch) {
      seen->push_back(*training);
      return inner(batch);
    };
    ListSource source(toy_batch(8), 4);
    AutogradTrainingLoop loop(model, sgd(0.1));
    (void)loop.train_epoch(source, squared_error);
    EXPECT_EQ(*seen, std::vector<bool>(2, true));
    EXPECT_EQ(*training, before);
    seen->clear();
    (void)loop.validate(source, squared_error);
    EXPECT_EQ(*seen, std::vector<bool>(2, false));
    EXPECT_EQ(*training, before);
    BreakingSource broken(1);
    EXPECT_THROW((void)loop.train_epoch(broken, squared_error), std::runtime_error);
    EXPECT_EQ(*training, before) << "after an exception";
  }
}

TEST(Fit, RunsAllEpochs) {
  ListSource source(toy_batch(12), 4);
  LoopOptions options;
  options.epochs = 4;
  const Model model = toy_model();
  const Model twin = toy_model();
  AutogradTrainingLoop loop(model, sgd(0.1), options);
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(result.status, "finished");
  EXPECT_EQ(result.steps, 12);
  EXPECT_EQ(result.epochs, 4);
  ASSERT_EQ(result.history.size(), 4U);
  EXPECT_TRUE(std::isnan(result.best));
  AutogradTrainingLoop by_epochs(twin, sgd(0.1));
  for (std::int64_t epoch = 0; epoch < 4; ++epoch) {
    const EpochStats stats = by_epochs.train_epoch(source, squared_error);
    EXPECT_EQ(stats.losses, result.history[static_cast<std::size_t>(epoch)].losses);
  }
  expect_same_bits(model.parameters.tensors, twin.parameters.tensors);
}

TEST(Fit, SaysThatTheFirstLossIsNotFinite) {
  Batch batch = toy_batch(8);
  batch.input.select(0, 1).fill_(std::numeric_limits<float>::quiet_NaN());
  ListSource source(batch, 8);
  AutogradTrainingLoop loop(toy_model(), sgd(0.1));
  EXPECT_ERROR_WITH("[train] the loss of the first step is ", loop.fit(source, nullptr, squared_error));
}

TEST(Fit, GoesOnOverALaterNonfiniteLossAndReportsIt) {
  Batch batch = toy_batch(12);
  batch.input.select(0, 5).fill_(std::numeric_limits<float>::quiet_NaN());
  ListSource source(batch, 4);
  LoopOptions options;
  options.epochs = 1;
  const Model model = toy_model();
  AutogradTrainingLoop loop(model, sgd(0.1), options);
  std::vector<std::string> rules;
  loop.on(Point::step_end, [&rules](const Moment& moment) {
    for (const Issue& issue : std::get<StepInfo>(moment.event->payload).issues) {
      rules.push_back(issue.rule);
    }
    return Action::proceed;
  });
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(result.history[0].skipped_steps, 1);
  EXPECT_EQ(rules, (std::vector<std::string>{"nonfinite_gradient", "nonfinite_loss"}));
  EXPECT_TRUE(model.parameters.tensors[0].isfinite().all().item<bool>());
}

TEST(Fit, RefusesDataWithoutABatch) {
  ListSource empty(part_of(toy_batch(1), 0, 0), 4);
  AutogradTrainingLoop loop(toy_model(), sgd(0.1));
  EXPECT_ERROR_WITH("the training data has no batch", loop.fit(empty, nullptr, squared_error));
}

TEST(Loop, RefusesAModelWithNothingToTrain) {
  Model model = toy_model();
  for (const at::Tensor& parameter : model.parameters.tensors) {
    parameter.requires_grad_(false);
  }
  EXPECT_ERROR_WITH("none of the 4 parameters asks for a gradient", AutogradTrainingLoop(model));
}

TEST(Loop, RefusesOptionsThatDoNotFit) {
  LoopOptions options;
  options.epochs = 0;
  EXPECT_ERROR_WITH("[train] epochs is 0, allowed: >= 1",
                    AutogradTrainingLoop(toy_model(), OptimizerOptions(), options));
  options = {};
  options.metrics = {"acuracy"};
  EXPECT_ERROR_WITH("did you mean \"accuracy\"?", AutogradTrainingLoop(toy_model(), OptimizerOptions(), options));
  options = {};
  options.monitor = "accuracy";
  EXPECT_ERROR_WITH("monitor is \"accuracy\", allowed: loss or one of metrics",
                    AutogradTrainingLoop(toy_model(), OptimizerOptions(), options));
}

TEST(Deterministic, IsOnWhileItTrainsAndBackAfterwards) {
  LoopOptions options;
  options.deterministic = true;
  ListSource source(toy_batch(8), 4);
  AutogradTrainingLoop loop(toy_model(), sgd(0.05), options);
  bool inside = false;
  loop.on(Point::step_end, [&inside](const Moment&) {
    inside = at::globalContext().deterministicAlgorithms();
    return Action::proceed;
  });
  ASSERT_FALSE(at::globalContext().deterministicAlgorithms());
  (void)loop.train_epoch(source, squared_error);
  EXPECT_TRUE(inside);
  EXPECT_FALSE(at::globalContext().deterministicAlgorithms());
}

}  // namespace
}  // namespace gradwise
