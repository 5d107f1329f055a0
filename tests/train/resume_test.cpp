#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/core/random_state.h"
#include "gradwise/train/checkpoint.h"
#include "gradwise/train/loop.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/data/tensor_of.h"
#include "tests/train/resumed_training.h"

namespace gradwise {
namespace {

namespace fs = std::filesystem;

class Resume : public testing::TestWithParam<ResumeCase> {};

TEST_P(Resume, FromAnyStepEndsWithTheSameBits) {
  const TemporaryFolder folder;
  seed_everything(17);
  Training whole(GetParam(), 1, folder / "whole");
  const FitResult expected = whole.fit();
  const std::vector<at::Tensor> reached = whole.everything();
  const std::vector<CheckpointPlace> places = list_checkpoints(folder / "whole");
  ASSERT_EQ(places.size(), static_cast<std::size_t>(expected.steps));
  for (const CheckpointPlace& place : places) {
    SCOPED_TRACE("resumed at step " + std::to_string(place.step));
    seed_everything(99);
    Training other(GetParam(), 60, folder / ("from-" + std::to_string(place.step)));
    other.loop.resume(place.path);
    EXPECT_EQ(other.loop.steps(), place.step);
    const FitResult result = other.fit();
    expect_same_bits(other.everything(), reached);
    EXPECT_EQ(result.steps, expected.steps);
    EXPECT_EQ(result.epochs, expected.epochs);
    EXPECT_EQ(result.best, expected.best);
    EXPECT_EQ(result.best_step, expected.best_step);
    if (!result.history.empty()) {
      EXPECT_EQ(result.history.back().losses, expected.history.back().losses) << "the epoch's earlier steps are kept";
      EXPECT_EQ(result.history.back().learning_rates, expected.history.back().learning_rates);
      EXPECT_EQ(result.history.back().samples, 22);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Resume,
                         testing::Values(ResumeCase{"adamw_cosine", "adamw", "float32", 1, "cosine", "step"},
                                         ResumeCase{"adamw_accumulated", "adamw", "float32", 4, "cosine", "step"},
                                         ResumeCase{"sgd_plateau", "sgd", "float32", 2, "plateau", "epoch"},
                                         ResumeCase{"rmsprop_float16", "rmsprop", "float16", 2, "none", "step"},
                                         ResumeCase{"adagrad_bfloat16", "adagrad", "bfloat16", 3, "cosine", "step"}),
                         [](const testing::TestParamInfo<ResumeCase>& info) { return std::string(info.param.name); });

TEST(ResumeAfterStop, EndsWithTheSameBits) {
  const TemporaryFolder folder;
  seed_everything(17);
  Training whole(kPlain, 1, folder / "whole");
  (void)whole.fit();

  seed_everything(17);
  Training stopped(kPlain, 1, folder / "stopped");
  stopped.loop.on(Point::step_end, [&stopped](const Moment& moment) {
    if (moment.step == 8) {
      stopped.loop.request_stop();
    }
    return Action::proceed;
  });
  EXPECT_EQ(stopped.fit().status, "interrupted");

  seed_everything(99);
  Training resumed(kPlain, 60, folder / "stopped");
  std::vector<std::string> complaints;
  const auto [place, checkpoint] = newest_checkpoint(folder / "stopped", complaints);
  EXPECT_EQ(place.step, 8);
  resumed.loop.resume(place.path);
  EXPECT_EQ(resumed.fit().status, "finished");
  expect_same_bits(resumed.everything(), whole.everything());
  EXPECT_TRUE(complaints.empty());
}

// The epoch's first steps were measured, those after the resume are not.
TEST(ResumeAfterStop, KeepsThePeakMemoryOfTheEpochUnderWay) {
  const TemporaryFolder folder;
  ListSource source(toy_batch(22), 4);
  ListSource validation(toy_batch(6, 500), 4);
  LoopOptions options = options_of(kPlain, folder / "run");
  options.measure_memory = true;
  AutogradTrainingLoop stopped(restless_model(1), optimizer_of(kPlain), options);
  stopped.on(Point::step_end, [&stopped](const Moment& moment) {
    if (moment.step == 8) {
      stopped.request_stop();
    }
    return Action::proceed;
  });
  (void)stopped.fit(source, &validation, squared_error);
  options.measure_memory = false;
  AutogradTrainingLoop resumed(restless_model(1), optimizer_of(kPlain), options);
  resumed.resume(list_checkpoints(folder / "run").back().path);
  const std::vector<EpochStats> history = resumed.fit(source, &validation, squared_error).history;
  ASSERT_GE(history.size(), 2U);
  EXPECT_GT(history[history.size() - 2].peak_bytes, 0);
  EXPECT_TRUE(std::isnan(history.back().peak_bytes));
}

// A skipped step gives buffers back as they were: after a resume, as they were in the checkpoint.
TEST(ResumeThenSkip, KeepsTheCheckpointsBuffers) {
  const TemporaryFolder folder;
  Training whole(kPlain, 1, folder / "whole");
  (void)whole.fit();
  Training other(kPlain, 60, folder / "other");
  other.loop.resume(list_checkpoints(folder / "whole").back().path);
  Batch bad = toy_batch(4);
  bad.input.select(0, 0).fill_(std::numeric_limits<float>::quiet_NaN());
  const TrainingModeGuard training(other.model, true);
  EXPECT_TRUE(other.loop.optimizer().step(squared_error, bad.input, bad.target).skipped);
  EXPECT_TRUE(same_bits(other.model.buffers.tensors[0], whole.model.buffers.tensors[0]));
  expect_same_bits(other.model.parameters.tensors, whole.model.parameters.tensors);
}

TEST(ResumeErrors, ACheckpointOfAnotherArchitectureIsRefusedUntouched) {
  const TemporaryFolder folder;
  Training small(kPlain, 1, folder / "small");
  (void)small.fit();
  const fs::path place = list_checkpoints(folder / "small").back().path;

  Model wide = toy_model();
  wide.parameters.names[0] = "first.weight";
  wide.parameters.tensors[1] = random_tensor({9}, 1).requires_grad_();
  const std::vector<at::Tensor> before = copies_of(wide.parameters.tensors);
  AutogradTrainingLoop loop(wide);
  const std::string message = error_of([&loop, &place] { loop.resume(place); });
  for (const char* part :
       {"is of another architecture", "first.weight: model [4, 8], not in the checkpoint",
        "layer.bias: model [9] Float, checkpoint [8] Float", "layer.weight: checkpoint [4, 8], not in the model",
        "mean: checkpoint [4], not in the model"}) {
    EXPECT_NE(message.find(part), std::string::npos) << "no \"" << part << "\" in " << message;
  }
  expect_same_bits(wide.parameters.tensors, before);
  EXPECT_EQ(loop.steps(), 0);
}

TEST(ResumeErrors, ATruncatedFileIsNamedAndNothingChanges) {
  const TemporaryFolder folder;
  Training whole(kPlain, 1, folder / "whole");
  (void)whole.fit();
  const fs::path place = list_checkpoints(folder / "whole").back().path;
  // In the opposite order of reading, so that the one just cut is what is found.
  for (const char* file : {"model.safetensors", "training_state.safetensors", "trainer_state.json"}) {
    fs::resize_file(place / file, fs::file_size(place / file) - 7);
    Training other(kPlain, 60, folder / "other");
    const std::vector<at::Tensor> before = other.everything();
    EXPECT_ERROR_WITH(file, other.loop.resume(place));
    expect_same_bits(other.everything(), before);
  }
}

TEST(ResumeErrors, AnAverageThatIsMissingIsNamedAndNothingChanges) {
  const TemporaryFolder folder;
  LoopOptions options = options_of(kPlain, folder / "without");
  options.use_ema = false;
  AutogradTrainingLoop without(restless_model(1), optimizer_of(kPlain), options);
  ListSource source(toy_batch(8), 4);
  (void)without.train_epoch(source, squared_error);
  const fs::path place = without.save_checkpoint();
  Training other(kPlain, 60, folder / "other");
  const std::vector<at::Tensor> before = other.everything();
  EXPECT_ERROR_WITH("has no averaged weights, but use_ema is on", other.loop.resume(place));
  expect_same_bits(other.everything(), before);
}

TEST(ResumeErrors, AnotherOptimizerIsNamed) {
  const TemporaryFolder folder;
  Training whole(kPlain, 1, folder / "whole");
  (void)whole.fit();
  ResumeCase other_kind = kPlain;
  other_kind.optimizer = "sgd";
  Training other(other_kind, 60, folder / "other");
  const std::vector<at::Tensor> before = other.everything();
  EXPECT_ERROR_WITH("the saved state is of \"AdamW\", this optimizer is \"SGD\"",
                    other.loop.resume(list_checkpoints(folder / "whole").back().path));
  expect_same_bits(other.everything(), before);
}

TEST(ResumeWithOtherOptions, OfMoreEpochsGoesOn) {
  const TemporaryFolder folder;
  LoopOptions options;
  options.epochs = 1;
  options.checkpoint.folder = (folder / "first").string();
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop first(toy_model(), OptimizerOptions(), options);
  (void)first.fit(source, nullptr, squared_error);

  options.epochs = 3;
  const Model model = toy_model(60);
  AutogradTrainingLoop more(model, OptimizerOptions(), options);
  more.resume(folder / "first/checkpoint-3");
  const FitResult result = more.fit(source, nullptr, squared_error);
  EXPECT_EQ(result.steps, 9);
  EXPECT_EQ(result.history.size(), 2U);

  options.checkpoint.folder = "";
  const Model twin = toy_model();
  AutogradTrainingLoop whole(twin, OptimizerOptions(), options);
  (void)whole.fit(source, nullptr, squared_error);
  expect_same_bits(model.parameters.tensors, twin.parameters.tensors);
}

class ResumeWithASchedule : public testing::TestWithParam<std::string> {};

TEST_P(ResumeWithASchedule, OfAnotherLengthTakesThatOnesRates) {
  const TemporaryFolder folder;
  LoopOptions options;
  options.epochs = 1;
  options.schedule.name = GetParam();
  options.schedule.warmup_steps = 2;
  options.checkpoint.folder = (folder / "first").string();
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop first(toy_model(), OptimizerOptions(), options);
  (void)first.fit(source, nullptr, squared_error);

  options.epochs = 3;
  AutogradTrainingLoop more(toy_model(60), OptimizerOptions(), options);
  more.resume(folder / "first/checkpoint-3");
  const FitResult resumed = more.fit(source, nullptr, squared_error);
  options.checkpoint.folder = "";
  AutogradTrainingLoop whole(toy_model(), OptimizerOptions(), options);
  const FitResult in_one = whole.fit(source, nullptr, squared_error);
  ASSERT_EQ(resumed.history.size(), 2U);
  EXPECT_EQ(resumed.history[0].learning_rates, in_one.history[1].learning_rates);
  EXPECT_EQ(resumed.history[1].learning_rates, in_one.history[2].learning_rates);
  EXPECT_GT(resumed.history[0].learning_rates.front(), 0);
}

INSTANTIATE_TEST_SUITE_P(All, ResumeWithASchedule, testing::Values("cosine", "linear", "polynomial", "one_cycle"));

TEST(ResumeFromElsewhere, SavesInItsOwnFolder) {
  const TemporaryFolder folder;
  LoopOptions options;
  options.epochs = 1;
  options.checkpoint.folder = (folder / "first").string();
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop first(toy_model(), OptimizerOptions(), options);
  (void)first.fit(source, nullptr, squared_error);

  options.checkpoint.folder = (folder / "second").string();
  AutogradTrainingLoop second(toy_model(60), OptimizerOptions(), options);
  second.resume(folder / "first/checkpoint-3");
  EXPECT_TRUE(fs::exists(second.save_checkpoint() / "model.safetensors"));
}

TEST(ResumeWithOtherOptions, TakesTheAveragesDecayFromThem) {
  const TemporaryFolder folder;
  LoopOptions options;
  options.epochs = 1;
  options.use_ema = true;
  options.checkpoint.folder = (folder / "run").string();
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop first(toy_model(), OptimizerOptions(), options);
  (void)first.fit(source, nullptr, squared_error);

  options.ema.decay = 0.5;
  AutogradTrainingLoop second(toy_model(60), OptimizerOptions(), options);
  second.resume(folder / "run/checkpoint-3");
  EXPECT_EQ(second.ema()->decay(), 0.5);
}

TEST(ResumeOfADamagedState, NamesTheCheckpoint) {
  const TemporaryFolder folder;
  LoopOptions options;
  options.epochs = 1;
  options.checkpoint.folder = (folder / "run").string();
  ListSource source(toy_batch(12), 4);
  AutogradTrainingLoop first(toy_model(), OptimizerOptions(), options);
  (void)first.fit(source, nullptr, squared_error);
  const fs::path checkpoint = folder / "run/checkpoint-3";
  Checkpoint saved = read_checkpoint(checkpoint);
  saved.training.values["loop"].erase("position");
  write_checkpoint(folder / "damaged", 3, saved);

  AutogradTrainingLoop second(toy_model(60), OptimizerOptions(), options);
  EXPECT_ERROR_WITH("damaged/checkpoint-3 is damaged", second.resume(folder / "damaged/checkpoint-3"));
}

TEST(Fit, GoesOnAfterAStopThatWasRequested) {
  ListSource source(toy_batch(12), 4);
  LoopOptions options;
  options.epochs = 2;
  AutogradTrainingLoop loop(toy_model(), OptimizerOptions(), options);
  loop.request_stop();
  EXPECT_EQ(loop.fit(source, nullptr, squared_error).status, "interrupted");
  EXPECT_EQ(loop.fit(source, nullptr, squared_error).status, "finished");
  EXPECT_EQ(loop.steps(), 6);
}

}  // namespace
}  // namespace gradwise
