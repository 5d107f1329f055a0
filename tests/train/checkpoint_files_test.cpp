#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gradwise/train/checkpoint.h"
#include "gradwise/train/checkpoint_writer.h"
#include "tests/core/file_size_limit.h"
#include "tests/data/error_of.h"
#include "tests/data/temporary_folder.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

namespace fs = std::filesystem;

Checkpoint numbered_checkpoint(unsigned int number) {
  Checkpoint checkpoint;
  checkpoint.model.tensors["layer.weight"] = random_tensor({3, 4}, number);
  checkpoint.model.tensors["layer.count"] = random_tensor({}, number).mul(100).to(at::kLong);
  checkpoint.training.tensors["optimizer/moment"] = random_tensor({3, 4}, number + 1000, at::kDouble);
  checkpoint.training.values["number"] = number;
  return checkpoint;
}

void expect_number(const Checkpoint& checkpoint, unsigned int number) {
  const Checkpoint expected = numbered_checkpoint(number);
  ASSERT_EQ(checkpoint.model.tensors.size(), expected.model.tensors.size());
  for (const auto& [name, tensor] : expected.model.tensors) {
    EXPECT_TRUE(same_bits(checkpoint.model.tensors.at(name), tensor)) << name;
  }
  EXPECT_TRUE(
      same_bits(checkpoint.training.tensors.at("optimizer/moment"), expected.training.tensors.at("optimizer/moment")));
  EXPECT_EQ(checkpoint.training.values.at("number").get<unsigned int>(), number);
}

std::vector<std::int64_t> steps_in(const fs::path& folder) {
  std::vector<std::int64_t> steps;
  for (const CheckpointPlace& place : list_checkpoints(folder)) {
    steps.push_back(place.step);
  }
  return steps;
}

using Steps = std::vector<std::int64_t>;

void cut_in_half(const fs::path& file) { fs::resize_file(file, fs::file_size(file) / 2); }

TEST(CheckpointFiles, AreReadBackAsWritten) {
  const TemporaryFolder folder;
  const std::int64_t bytes = write_checkpoint(folder / "deep/checkpoints", 7, numbered_checkpoint(7));
  const fs::path place = folder / "deep/checkpoints/checkpoint-7";
  std::int64_t on_disk = 0;
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(place)) {
    on_disk += static_cast<std::int64_t>(entry.file_size());
    ++files;
  }
  EXPECT_EQ(files, 3U);
  EXPECT_EQ(bytes, on_disk);
  const Checkpoint read = read_checkpoint(place);
  expect_number(read, 7);
  EXPECT_EQ(read.training.values.at("step").get<int>(), 7);
}

TEST(CheckpointFiles, AreListedByStepAndNothingElseIs) {
  const TemporaryFolder folder;
  for (const int step : {100, 9, 20}) {
    (void)write_checkpoint(folder / "", step, numbered_checkpoint(1));
  }
  for (const char* other : {"checkpoint-", "checkpoint-5x", "checkpoint--5", ".checkpoint-5.tmp", "5"}) {
    fs::create_directory(folder / other);
  }
  folder.write("checkpoint-6", "a file");
  mark_best(folder / "", 9);
  EXPECT_EQ(steps_in(folder / ""), (Steps{9, 20, 100}));
  EXPECT_EQ(steps_in(folder / "none"), Steps{});
}

TEST(CheckpointFiles, ReplaceThoseOfTheSameStep) {
  const TemporaryFolder folder;
  (void)write_checkpoint(folder / "", 5, numbered_checkpoint(1));
  (void)write_checkpoint(folder / "", 5, numbered_checkpoint(2));
  expect_number(read_checkpoint(folder / "checkpoint-5"), 2);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / ""), fs::directory_iterator()), 1);
}

TEST(CheckpointFiles, ThatAreBrokenFallBackToTheOlderOne) {
  const std::vector<std::string> files = {"model.safetensors", "training_state.safetensors", "trainer_state.json"};
  for (const std::string& file : files) {
    const TemporaryFolder folder;
    for (const unsigned int step : {1U, 2U, 3U}) {
      (void)write_checkpoint(folder / "", step, numbered_checkpoint(step));
    }
    cut_in_half(folder / ("checkpoint-3/" + file));
    fs::remove(folder / ("checkpoint-2/" + file));
    std::vector<std::string> complaints;
    const auto [place, checkpoint] = newest_checkpoint(folder / "", complaints);
    EXPECT_EQ(place.step, 1) << file;
    expect_number(checkpoint, 1);
    ASSERT_EQ(complaints.size(), 2U) << file;
    EXPECT_NE(complaints[0].find("checkpoint-3"), std::string::npos) << complaints[0];
    EXPECT_NE(complaints[0].find(file), std::string::npos) << complaints[0];
    EXPECT_NE(complaints[1].find("checkpoint-2"), std::string::npos) << complaints[1];
  }
}

TEST(CheckpointFiles, SayWhatIsWrong) {
  const TemporaryFolder folder;
  std::vector<std::string> complaints;
  EXPECT_ERROR_WITH("there is no checkpoint that can be read in " + (folder / "").string(),
                    newest_checkpoint(folder / "", complaints));
  EXPECT_ERROR_WITH("there is no checkpoint folder " + (folder / "checkpoint-1").string(),
                    read_checkpoint(folder / "checkpoint-1"));
  (void)write_checkpoint(folder / "", 1, numbered_checkpoint(1));
  const auto write_values = [&folder](const std::string& text) {
    std::ofstream(folder / "checkpoint-1/trainer_state.json") << text;
  };
  write_values("[1, 2]");
  EXPECT_ERROR_WITH("trainer_state.json is not a JSON object", read_checkpoint(folder / "checkpoint-1"));
  write_values("{\"format\": 99}");
  EXPECT_ERROR_WITH("trainer_state.json has format 99, this version reads 1", read_checkpoint(folder / "checkpoint-1"));
}

TEST(CheckpointFiles, AFullDiskLeavesTheOlderOneWhole) {
  const TemporaryFolder folder;
  (void)write_checkpoint(folder / "", 1, numbered_checkpoint(1));
  Checkpoint large = numbered_checkpoint(2);
  large.model.tensors["large"] = random_tensor({100000}, 3);
  std::string message;
  {
    const FileSizeLimit limit(65536);
    message = error_of([&folder, &large] { (void)write_checkpoint(folder / "", 2, large); });
  }
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  EXPECT_EQ(steps_in(folder / ""), Steps{1});
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / ""), fs::directory_iterator()), 1) << "nothing half-written";
  expect_number(read_checkpoint(folder / "checkpoint-1"), 1);
}

TEST(PruneCheckpoints, KeepsTheNewestAndTheBest) {
  const TemporaryFolder folder;
  for (const int step : {1, 2, 3, 4, 5}) {
    (void)write_checkpoint(folder / "", step, numbered_checkpoint(1));
  }
  fs::create_directory(folder / ".checkpoint-9.tmp");
  mark_best(folder / "", 1);
  mark_best(folder / "", 2);
  prune_checkpoints(folder / "", 2, 1000);
  EXPECT_EQ(steps_in(folder / ""), (Steps{2, 4, 5}));
  EXPECT_EQ(fs::read_symlink(folder / "best").string(), "checkpoint-2");
  EXPECT_FALSE(fs::exists(folder / ".checkpoint-9.tmp"));
  prune_checkpoints(folder / "", 10, 1000);
  EXPECT_EQ(steps_in(folder / ""), (Steps{2, 4, 5}));
}

TEST(PruneCheckpoints, LeavesLaterOnesOfBeforeAFallback) {
  const TemporaryFolder folder;
  for (const int step : {1, 2, 9}) {
    (void)write_checkpoint(folder / "", step, numbered_checkpoint(1));
  }
  prune_checkpoints(folder / "", 1, 2);
  EXPECT_EQ(steps_in(folder / ""), (Steps{2, 9}));
}

TEST(CheckArchitecture, ListsAllThatDiffers) {
  const Model model = toy_model();
  State saved;
  for (std::size_t i = 0; i < model.parameters.size(); ++i) {
    saved.tensors[model.parameters.names[i]] = model.parameters.tensors[i];
  }
  check_architecture(saved, model.parameters, "the checkpoint");
  saved.tensors["layer.weight"] = random_tensor({4, 9}, 1);
  saved.tensors["layer.bias"] = random_tensor({8}, 1, at::kDouble);
  saved.tensors.erase("head.bias");
  saved.tensors["tail.bias"] = random_tensor({2}, 1);
  const std::string message =
      error_of([&saved, &model] { check_architecture(saved, model.parameters, "runs/x/checkpoint-3"); });
  for (const char* part :
       {"runs/x/checkpoint-3 is of another architecture", "layer.weight: model [4, 8] Float, checkpoint [4, 9] Float",
        "layer.bias: model [8] Float, checkpoint [8] Double", "head.bias: model [1], not in the checkpoint",
        "tail.bias: checkpoint [2], not in the model"}) {
    EXPECT_NE(message.find(part), std::string::npos) << "no \"" << part << "\" in " << message;
  }
  EXPECT_EQ(message.find("head.weight"), std::string::npos) << "it fits";
}

TEST(CheckpointWriter, SavesTheValuesOfTheCall) {
  const TemporaryFolder folder;
  Checkpoint live = numbered_checkpoint(4);
  CheckpointWriter writer(folder / "checkpoints", 2);
  writer.save(4, live, /*best=*/true);
  for (auto& [name, tensor] : live.model.tensors) {
    tensor.zero_();  // as the next training step would
  }
  writer.wait();
  expect_number(read_checkpoint(folder / "checkpoints/checkpoint-4"), 4);
  EXPECT_EQ(fs::read_symlink(folder / "checkpoints/best").string(), "checkpoint-4");
  const std::vector<CheckpointSaved> finished = writer.take_finished();
  ASSERT_EQ(finished.size(), 1U);
  EXPECT_EQ(finished[0].path, "checkpoints/checkpoint-4");
  EXPECT_EQ(finished[0].step, 4);
  EXPECT_TRUE(writer.take_finished().empty());
}

TEST(CheckpointWriter, FollowsTensorsThatChangeTheirShape) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder / "", 3);
  for (const unsigned int step : {1U, 2U, 3U}) {
    Checkpoint live = numbered_checkpoint(step);
    live.training.tensors["losses"] = random_tensor({step}, step);
    writer.save(step, live, /*best=*/false);
  }
  writer.wait();
  for (const unsigned int step : {1U, 2U, 3U}) {
    const Checkpoint read = read_checkpoint(folder / ("checkpoint-" + std::to_string(step)));
    expect_number(read, step);
    EXPECT_TRUE(same_bits(read.training.tensors.at("losses"), random_tensor({step}, step)));
  }
}

TEST(CheckpointWriter, ThrowsWhatTheWriteThrewOnceAndGoesOn) {
  const TemporaryFolder folder;
  folder.write("taken", "a file where the folder should be");
  CheckpointWriter writer(folder / "taken", 2);
  writer.save(1, numbered_checkpoint(1), /*best=*/false);
  EXPECT_ERROR_WITH("can't create", writer.wait());
  fs::remove(folder / "taken");
  writer.save(2, numbered_checkpoint(2), /*best=*/false);
  writer.wait();
  expect_number(read_checkpoint(folder / "taken/checkpoint-2"), 2);
}

}  // namespace
}  // namespace gradwise
