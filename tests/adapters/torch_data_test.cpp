// A torch::data loader as BatchSource: whole epochs, resume in mid-epoch, and a training with it.
#include <gtest/gtest.h>
#include <torch/data/dataloader.h>
#include <torch/data/datasets/base.h>
#include <torch/data/datasets/map.h>
#include <torch/data/samplers/sequential.h>
#include <torch/data/transforms/stack.h>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "gradwise/adapters/torch_data.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/train/loop.h"
#include "tests/optim/toy_model.h"
#include "tests/train/list_source.h"
#include "tests/train/loop_settings.h"

namespace gradwise {
namespace {

constexpr std::int64_t kSamples = 22;
constexpr std::int64_t kBatch = 4;

class Toy : public torch::data::datasets::Dataset<Toy> {
 public:
  explicit Toy(Batch samples) : samples_(std::move(samples)) {}
  torch::data::Example<> get(std::size_t index) override {
    const auto i = static_cast<std::int64_t>(index);
    return {samples_.input[i], samples_.target[i]};
  }
  [[nodiscard]] torch::optional<std::size_t> size() const override { return samples_.input.size(0); }

 private:
  Batch samples_;
};

auto loader_source(const Batch& samples, std::size_t workers) {
  const auto make = [samples, workers] {
    return torch::data::make_data_loader<torch::data::samplers::SequentialSampler>(
        Toy(samples).map(torch::data::transforms::Stack<>()),
        torch::data::DataLoaderOptions().batch_size(kBatch).workers(workers));
  };
  return TorchDataSource(make, (kSamples + kBatch - 1) / kBatch);
}

class Workers : public testing::TestWithParam<std::size_t> {};

TEST_P(Workers, GiveEveryBatchOfEveryEpoch) {
  const Batch samples = toy_batch(kSamples, 5);
  auto source = loader_source(samples, GetParam());
  EXPECT_EQ(source.batches_per_epoch(), 6);
  for (std::int64_t epoch = 0; epoch < 2; ++epoch) {
    source.start(epoch, 0);
    Batch batch;
    for (std::int64_t from = 0; from < kSamples; from += kBatch) {
      ASSERT_TRUE(source.next(batch));
      const Batch expected = part_of(samples, from, std::min(from + kBatch, kSamples));
      EXPECT_TRUE(batch.input.equal(expected.input)) << "epoch " << epoch << ", sample " << from;
      EXPECT_TRUE(batch.target.equal(expected.target));
    }
    EXPECT_FALSE(source.next(batch));
  }
}

TEST_P(Workers, ResumeInMidEpoch) {
  const Batch samples = toy_batch(kSamples, 5);
  auto source = loader_source(samples, GetParam());
  source.start(0, 4);
  Batch batch;
  ASSERT_TRUE(source.next(batch));
  EXPECT_TRUE(batch.input.equal(part_of(samples, 16, 20).input));
  ASSERT_TRUE(source.next(batch));
  EXPECT_EQ(batch.size(), 2);
  EXPECT_FALSE(source.next(batch));
  source.start(0, 6);
  EXPECT_FALSE(source.next(batch));
}

INSTANTIATE_TEST_SUITE_P(TorchData, Workers, testing::Values(0, 2));

TEST(TorchData, TrainsAsTheSameBatchesFromElsewhere) {
  const Batch samples = toy_batch(kSamples, 5);
  const Model through_torch = toy_model();
  const Model by_list = toy_model();
  auto loader = loader_source(samples, 2);
  ListSource list(samples, kBatch);
  AutogradTrainingLoop one(through_torch, plain_sgd());
  AutogradTrainingLoop other(by_list, plain_sgd());
  const EpochStats stats = one.train_epoch(loader, squared_error);
  (void)other.train_epoch(list, squared_error);
  EXPECT_EQ(stats.losses.size(), 6U);
  expect_same_bits(through_torch.parameters.tensors, by_list.parameters.tensors);
}

}  // namespace
}  // namespace gradwise
