#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "gradwise/train/loop.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/train/list_source.h"
#include "tests/train/loop_settings.h"

namespace gradwise {
namespace {

/// Writes down every point it is told of.
class Diary : public Observer {
 public:
  Action on(const Moment& moment) override {
    static const char* const kNames[] = {"train_start",  "epoch_start", "batch_start",    "forward_end",
                                         "backward_end", "step_end",    "validation_end", "epoch_end",
                                         "checkpoint",   "rolled_back", "exception",      "train_end"};
    points.emplace_back(kNames[static_cast<std::size_t>(moment.point)]);
    moments.push_back(moment);
    return Action::proceed;
  }
  std::vector<std::string> points;
  std::vector<Moment> moments;
};

void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

TEST(Observer, IsToldOfEveryPointInOrder) {
  LoopOptions options = epochs(2);
  options.accumulate = 2;
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop loop(toy_model(), plain_sgd(), options);
  Diary diary;
  loop.add_observer(diary);
  (void)loop.fit(source, &source, squared_error);
  std::vector<std::string> expected = {"train_start"};
  for (int epoch = 0; epoch < 2; ++epoch) {
    append(expected,
           {"epoch_start", "batch_start", "forward_end", "batch_start", "forward_end", "backward_end", "step_end",
            "batch_start", "forward_end", "backward_end", "step_end", "epoch_end", "validation_end"});
  }
  expected.emplace_back("train_end");
  EXPECT_EQ(diary.points, expected);
}

TEST(Observer, SeesStepsEpochsAndWhatHappened) {
  ListSource source(toy_batch(8), 4);
  AutogradTrainingLoop loop(toy_model(), plain_sgd(), epochs(2));
  std::vector<std::int64_t> steps;
  std::vector<std::int64_t> step_epochs;
  std::vector<std::int64_t> batch_sizes;
  std::vector<double> epoch_losses;
  loop.on(Point::step_end, [&steps, &step_epochs](const Moment& moment) {
    const auto& info = std::get<StepInfo>(moment.event->payload);
    steps.push_back(moment.step);
    step_epochs.push_back(info.epoch);
    EXPECT_EQ(info.step, moment.step);
    EXPECT_EQ(moment.event->step, moment.step);
    EXPECT_GT(moment.event->time, 1.6e9) << "seconds since 1970";
    EXPECT_GT(info.seconds.total, 0);
    return Action::proceed;
  });
  loop.on(Point::batch_start, [&batch_sizes](const Moment& moment) {
    batch_sizes.push_back(moment.batch->size());
    return Action::proceed;
  });
  loop.on(Point::epoch_end, [&epoch_losses](const Moment& moment) {
    epoch_losses.push_back(std::get<EpochFinished>(moment.event->payload).mean_loss);
    return Action::proceed;
  });
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(steps, (std::vector<std::int64_t>{1, 2, 3, 4}));
  EXPECT_EQ(step_epochs, (std::vector<std::int64_t>{0, 0, 1, 1}));
  EXPECT_EQ(batch_sizes, (std::vector<std::int64_t>{4, 4, 4, 4}));
  ASSERT_EQ(epoch_losses.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_DOUBLE_EQ(epoch_losses[i], (result.history[i].losses[0] + result.history[i].losses[1]) / 2);
  }
}

TEST(Observer, SeesOutputAndLossWithItsGraph) {
  ListSource source(toy_batch(6), 4);
  LoopOptions options = epochs(1);
  options.accumulate = 4;  // two come: the window ends short
  AutogradTrainingLoop loop(toy_model(), plain_sgd(), options);
  int forwards = 0;
  loop.on(Point::forward_end, [&forwards](const Moment& moment) {
    ++forwards;
    EXPECT_EQ(moment.output->size(0), moment.batch->size());
    EXPECT_EQ(moment.loss->item<float>(), squared_error(*moment.output, moment.batch->target).item<float>());
    EXPECT_TRUE(moment.loss->requires_grad());
    EXPECT_EQ(moment.micro_batches, 4);
    return Action::proceed;
  });
  double norm = 0;
  loop.on(Point::backward_end, [&norm, &loop](const Moment& moment) {
    EXPECT_DOUBLE_EQ(moment.gradient_scale, 16.0 / 6);
    for (const at::Tensor& parameter : loop.model().parameters.tensors) {
      norm += parameter.grad().square().sum().item<double>() * moment.gradient_scale * moment.gradient_scale;
    }
    return Action::proceed;
  });
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(forwards, 2);
  EXPECT_NEAR(std::sqrt(norm), result.history[0].grad_norms[0], 1e-6 * std::sqrt(norm));
}

TEST(Observer, IsToldOfCheckpoints) {
  const TemporaryFolder folder;
  LoopOptions options = epochs(2);
  options.checkpoint.folder = (folder / "checkpoints").string();
  ListSource source(toy_batch(8), 4);
  AutogradTrainingLoop loop(toy_model(), plain_sgd(), options);
  std::vector<std::string> paths;
  loop.on(Point::checkpoint, [&paths](const Moment& moment) {
    const auto& saved = std::get<CheckpointSaved>(moment.event->payload);
    paths.push_back(saved.path);
    EXPECT_GT(saved.bytes, 100);
    EXPECT_GE(saved.seconds, saved.blocked_seconds);
    return Action::proceed;
  });
  (void)loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(paths, (std::vector<std::string>{"checkpoints/checkpoint-2", "checkpoints/checkpoint-4"}));
}

TEST(Observer, IsToldOfAnExceptionThatThenPasses) {
  BreakingSource source(2);
  AutogradTrainingLoop loop(toy_model(), plain_sgd());
  Diary diary;
  std::string text;
  loop.add_observer(diary);
  loop.on(Point::exception, [&text](const Moment& moment) {
    text = std::get<Message>(moment.event->payload).text;
    return Action::proceed;
  });
  EXPECT_THROW((void)loop.fit(source, nullptr, squared_error), std::runtime_error);
  EXPECT_EQ(diary.points.back(), "exception");
  EXPECT_EQ(text, "the data broke");
}

TEST(Action, RollBackTakesTheLastCheckpointAndHalvesTheRate) {
  const TemporaryFolder folder;
  const auto train = [&folder](bool rolls_back) {
    LoopOptions options = epochs(1);
    options.checkpoint.folder = (folder / (rolls_back ? "rolled" : "plain")).string();
    options.checkpoint.every_steps = 2;
    const Model model = toy_model();
    AutogradTrainingLoop loop(model, plain_sgd(), options);
    std::vector<std::vector<at::Tensor>> weights;
    std::vector<double> rates;
    loop.on(Point::batch_start, [&weights, &model](const Moment&) {
      weights.push_back(copies_of(model.parameters.tensors));
      return Action::proceed;
    });
    std::string told;
    loop.on(Point::rolled_back, [&told](const Moment& moment) {
      told = std::get<Message>(moment.event->payload).text;
      return Action::proceed;
    });
    loop.on(Point::step_end, [&rates, rolls_back](const Moment& moment) {
      rates.push_back(std::get<StepInfo>(moment.event->payload).lr);
      return rolls_back && moment.step == 3 ? Action::roll_back : Action::proceed;
    });
    ListSource source(toy_batch(20), 4);
    (void)loop.fit(source, nullptr, squared_error);
    EXPECT_EQ(loop.steps(), 5);
    EXPECT_EQ(told, rolls_back ? "back to the weights of step 2; the learning rate is halved" : "");
    EXPECT_DOUBLE_EQ(rates[4], rolls_back ? rates[0] / 2 : rates[0]);
    return weights;
  };
  const auto plain = train(false);
  const auto rolled = train(true);
  expect_same_bits(rolled[2], plain[2]);
  expect_same_bits(rolled[3], plain[2]);  // the fourth batch begins from the weights of step 2
}

TEST(Action, SkipPassesABatchOver) {
  ListSource source(toy_batch(16), 4);
  const Model model = toy_model();
  AutogradTrainingLoop loop(model, plain_sgd(), epochs(1));
  std::int64_t seen = 0;
  loop.on(Point::batch_start, [&seen](const Moment&) { return seen++ == 1 ? Action::skip : Action::proceed; });
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(result.steps, 3);
  EXPECT_EQ(result.history[0].samples, 12);

  const Model twin = toy_model();
  AutogradOptimizer by_hand(twin, plain_sgd());
  for (const std::int64_t position : {0, 2, 3}) {
    const Batch batch = source.batch_at(0, position);
    (void)by_hand.step(squared_error, batch.input, batch.target);
  }
  expect_same_bits(model.parameters.tensors, twin.parameters.tensors);
}

TEST(Action, SkipDropsAnUpdate) {
  ListSource source(toy_batch(12), 4);
  const Model model = toy_model();
  AutogradTrainingLoop loop(model, plain_sgd(), epochs(1));
  std::vector<bool> skipped;
  loop.on(Point::backward_end, [&model](const Moment& moment) {
    EXPECT_TRUE(model.parameters.tensors[0].grad().defined()) << "gradients stand at this point";
    return moment.step == 1 ? Action::skip : Action::proceed;
  });
  loop.on(Point::step_end, [&skipped](const Moment& moment) {
    skipped.push_back(std::get<StepInfo>(moment.event->payload).skipped);
    return Action::proceed;
  });
  const FitResult result = loop.fit(source, nullptr, squared_error);
  EXPECT_EQ(skipped, (std::vector<bool>{false, true, false}));
  EXPECT_EQ(result.history[0].skipped_steps, 1);
  EXPECT_EQ(result.history[0].losses.size(), 3U);

  const Model twin = toy_model();
  AutogradOptimizer by_hand(twin, plain_sgd());
  for (const std::int64_t position : {0, 2}) {
    const Batch batch = source.batch_at(0, position);
    (void)by_hand.step(squared_error, batch.input, batch.target);
  }
  expect_same_bits(model.parameters.tensors, twin.parameters.tensors);
}

TEST(Action, StopEndsAfterTheStepUnderWay) {
  for (const Point point : {Point::batch_start, Point::backward_end, Point::step_end}) {
    ListSource source(toy_batch(20), 4);
    AutogradTrainingLoop loop(toy_model(), plain_sgd(), epochs(3));
    std::int64_t calls = 0;
    loop.on(point, [&calls](const Moment&) { return ++calls == 2 ? Action::stop : Action::proceed; });
    const FitResult result = loop.fit(source, nullptr, squared_error);
    EXPECT_EQ(result.status, "stopped");
    EXPECT_EQ(result.reason, "an observer asked for it");
    EXPECT_EQ(result.steps, 2) << "point " << static_cast<int>(point);
    EXPECT_EQ(result.epochs, 0);
    EXPECT_FALSE(result.history.back().complete);
  }
}

TEST(Action, StopAtTheEndOfAnEpochEndsTheTraining) {
  for (const Point point : {Point::epoch_end, Point::validation_end}) {
    ListSource source(toy_batch(8), 4);
    AutogradTrainingLoop loop(toy_model(), plain_sgd(), epochs(3));
    loop.on(point, [](const Moment&) { return Action::stop; });
    const FitResult result = loop.fit(source, &source, squared_error);
    EXPECT_EQ(result.status, "stopped") << "point " << static_cast<int>(point);
    EXPECT_EQ(result.epochs, 1);
    EXPECT_EQ(result.steps, 2);
  }
}

TEST(Action, StopBeforeTheFirstEpochTrainsNothing) {
  for (const Point point : {Point::train_start, Point::epoch_start}) {
    ListSource source(toy_batch(8), 4);
    AutogradTrainingLoop loop(toy_model(), plain_sgd(), epochs(3));
    loop.on(point, [](const Moment&) { return Action::stop; });
    const FitResult result = loop.fit(source, nullptr, squared_error);
    EXPECT_EQ(result.status, "stopped") << "point " << static_cast<int>(point);
    EXPECT_EQ(result.steps, 0);
  }
}

TEST(Action, TheStrongestOfAllAnswersCounts) {
  ListSource source(toy_batch(8), 4);
  AutogradTrainingLoop loop(toy_model(), plain_sgd(), epochs(1));
  Diary proceeds;
  loop.add_observer(proceeds);
  loop.on(Point::backward_end, [](const Moment&) { return Action::skip; });
  loop.on(Point::backward_end, [](const Moment&) { return Action::proceed; });
  EXPECT_EQ(loop.fit(source, nullptr, squared_error).history[0].skipped_steps, 2);
}

}  // namespace
}  // namespace gradwise
