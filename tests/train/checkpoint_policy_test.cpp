#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gradwise/train/checkpoint.h"
#include "gradwise/train/loop.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/train/scripted_model.h"

namespace gradwise {
namespace {

namespace fs = std::filesystem;
using Steps = std::vector<std::int64_t>;

struct PolicyCase {
  const char* name;
  std::int64_t every_steps;
  bool every_epoch;
  std::int64_t keep_last;
  bool keep_best;
  Steps kept;        ///< steps whose checkpoints are there at the end
  const char* best;  ///< what the link points at; empty: there is no link
};

class CheckpointPolicy : public testing::TestWithParam<PolicyCase> {};

// Four epochs of three steps; the second validation is the best.
TEST_P(CheckpointPolicy, KeepsWhatItPromises) {
  const PolicyCase& c = GetParam();
  const TemporaryFolder folder;
  LoopOptions options;
  options.epochs = 4;
  options.checkpoint.folder = (folder / "checkpoints").string();
  options.checkpoint.every_steps = c.every_steps;
  options.checkpoint.every_seconds = 0;
  options.checkpoint.every_epoch = c.every_epoch;
  options.checkpoint.keep_last = c.keep_last;
  options.checkpoint.keep_best = c.keep_best;
  AutogradTrainingLoop loop(scripted_model({3, 1, 2, 4}), OptimizerOptions(), options);
  ListSource training(toy_batch(12), 4);
  ListSource validation = one_batch();
  (void)loop.fit(training, &validation, scripted_loss);
  Steps kept;
  for (const CheckpointPlace& place : list_checkpoints(folder / "checkpoints")) {
    kept.push_back(place.step);
  }
  EXPECT_EQ(kept, c.kept);
  const fs::path link = folder / "checkpoints/best";
  EXPECT_EQ(fs::is_symlink(link) ? fs::read_symlink(link).string() : "", c.best);
}

INSTANTIATE_TEST_SUITE_P(All, CheckpointPolicy,
                         testing::Values(PolicyCase{"last_and_best", 0, true, 1, true, {6, 12}, "checkpoint-6"},
                                         PolicyCase{"last_two_and_best", 0, true, 2, true, {6, 9, 12}, "checkpoint-6"},
                                         PolicyCase{"last_two", 0, true, 2, false, {9, 12}, ""},
                                         PolicyCase{"by_steps", 2, false, 3, false, {8, 10, 12}, ""},
                                         PolicyCase{
                                             "by_steps_and_best", 5, false, 2, true, {6, 10, 12}, "checkpoint-6"},
                                         PolicyCase{"only_the_end", 0, false, 5, false, {12}, ""}),
                         [](const testing::TestParamInfo<PolicyCase>& info) { return std::string(info.param.name); });

TEST(SaveCheckpoint, WaitsAndNamesTheFolder) {
  const TemporaryFolder folder;
  LoopOptions options;
  options.checkpoint.folder = (folder / "checkpoints").string();
  const Model model = toy_model();
  AutogradTrainingLoop loop(model, OptimizerOptions(), options);
  ListSource source(toy_batch(8), 4);
  (void)loop.train_epoch(source, squared_error);
  const fs::path place = loop.save_checkpoint();
  EXPECT_EQ(place.string(), (folder / "checkpoints/checkpoint-2").string());
  const Checkpoint saved = read_checkpoint(place);
  for (std::size_t i = 0; i < model.parameters.size(); ++i) {
    EXPECT_TRUE(same_bits(saved.model.tensors.at(model.parameters.names[i]), model.parameters.tensors[i]));
  }
}

TEST(SaveCheckpoint, NeedsAFolder) {
  AutogradTrainingLoop loop(toy_model());
  EXPECT_ERROR_WITH("checkpoint.folder is empty", loop.save_checkpoint());
}

TEST(SaveCheckpoint, ThatFailsEndsTheTrainingWithTheReason) {
  const TemporaryFolder folder;
  folder.write("taken", "a file where the folder should be");
  LoopOptions options;
  options.epochs = 2;
  options.checkpoint.folder = (folder / "taken").string();
  AutogradTrainingLoop loop(toy_model(), OptimizerOptions(), options);
  ListSource source(toy_batch(8), 4);
  EXPECT_ERROR_WITH((folder / "taken").string(), loop.fit(source, nullptr, squared_error));
}

}  // namespace
}  // namespace gradwise
