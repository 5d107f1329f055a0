#include "gradwise/data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <memory>

#include "error_of.h"
#include "gradwise/data/new_tensor.h"
#include "tensor_of.h"

namespace gradwise {
namespace {

constexpr std::int64_t kSize = 23;

/// Images whose label is their number.
Dataset numbered_images() {
  return make_dataset(counted<std::uint8_t>({kSize, 2, 5, 4}), counted<std::uint8_t>({kSize}));
}

LoaderOptions options_with(std::int64_t prefetch) {
  LoaderOptions options;
  options.batch_size = 5;
  options.seed = 3;
  options.prefetch = prefetch;
  options.crop_padding = 2;
  options.flip = true;
  return options;
}

std::vector<Batch> rest_of_epoch(DataLoader& loader, std::int64_t epoch, std::int64_t position) {
  std::vector<Batch> batches;
  loader.start(epoch, position);
  for (Batch batch; loader.next(batch);) {
    batches.push_back(batch);
  }
  return batches;
}

std::vector<Batch> epoch_with(const LoaderOptions& options, std::int64_t epoch) {
  DataLoader loader(numbered_images(), options);
  return rest_of_epoch(loader, epoch, 0);
}

std::vector<std::int64_t> labels_of(const std::vector<Batch>& batches) {
  std::vector<std::int64_t> labels;
  for (const Batch& batch : batches) {
    const std::vector<std::int64_t> part = values_of<std::int64_t>(batch.target);
    labels.insert(labels.end(), part.begin(), part.end());
  }
  return labels;
}

void expect_same(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(a[i].input.equal(b[i].input)) << "batch " << i;
    EXPECT_TRUE(a[i].target.equal(b[i].target)) << "batch " << i;
  }
}

TEST(Loader, GivesTheSameWhateverThePrefetch) {
  const std::vector<Batch> expected = epoch_with(options_with(0), 4);
  for (const std::int64_t prefetch : {1, 2, 4, 100}) {
    SCOPED_TRACE(prefetch);
    expect_same(epoch_with(options_with(prefetch), 4), expected);
  }
}

TEST(Loader, GivesEverySampleOnce) {
  for (const bool shuffle : {false, true}) {
    LoaderOptions options = options_with(2);
    options.shuffle = shuffle;
    const std::vector<Batch> batches = epoch_with(options, 0);
    ASSERT_EQ(batches.size(), 5U);
    EXPECT_EQ(batches.back().size(), kSize % 5);
    std::vector<std::int64_t> labels = labels_of(batches);
    EXPECT_EQ(std::ranges::is_sorted(labels), !shuffle);
    std::ranges::sort(labels);
    EXPECT_EQ(labels, values_of<std::int64_t>(counted<std::int64_t>({kSize})));
  }
}

TEST(Loader, LeavesOutTheLastBatchWhereAsked) {
  LoaderOptions options = options_with(1);
  options.drop_last = true;
  const DataLoader loader(numbered_images(), options);
  EXPECT_EQ(loader.batches_per_epoch(), 4);
  EXPECT_EQ(epoch_with(options, 0).size(), 4U);
}

TEST(Loader, GoesOnFromEveryPosition) {
  for (const std::int64_t prefetch : {0, 3}) {
    DataLoader loader(numbered_images(), options_with(prefetch));
    const std::vector<Batch> whole = rest_of_epoch(loader, 7, 0);
    for (std::size_t position = 0; position <= whole.size(); ++position) {
      SCOPED_TRACE(position);
      const std::vector<Batch> expected(whole.begin() + static_cast<std::ptrdiff_t>(position), whole.end());
      expect_same(rest_of_epoch(loader, 7, static_cast<std::int64_t>(position)), expected);
    }
  }
}

TEST(Loader, EpochsAndSeedsDiffer) {
  LoaderOptions other_seed = options_with(2);
  other_seed.seed = 4;
  const std::vector<std::int64_t> first = labels_of(epoch_with(options_with(2), 0));
  EXPECT_NE(labels_of(epoch_with(options_with(2), 1)), first);
  EXPECT_NE(labels_of(epoch_with(other_seed, 0)), first);
}

TEST(Loader, AugmentsTheSameSampleAnewInEachEpoch) {
  LoaderOptions options = options_with(2);
  options.shuffle = false;
  const std::vector<Batch> first = epoch_with(options, 0);
  const std::vector<Batch> second = epoch_with(options, 1);
  EXPECT_TRUE(first[0].target.equal(second[0].target));
  EXPECT_FALSE(first[0].input.equal(second[0].input));
}

// Every batch of one epoch is held, none of the other: memory that is used again must not show.
TEST(Loader, LeavesBatchesAloneThatAreHeld) {
  for (const std::int64_t prefetch : {0, 2}) {
    const std::vector<Batch> held = epoch_with(options_with(prefetch), 0);
    DataLoader loader(numbered_images(), options_with(prefetch));
    loader.start(0, 0);
    std::size_t i = 0;
    for (Batch batch; loader.next(batch); ++i) {
      EXPECT_TRUE(batch.input.equal(held[i].input)) << "batch " << i;
    }
    EXPECT_EQ(i, held.size());
  }
}

TEST(Loader, LeavesViewsAloneThatAreHeld) {
  const std::vector<Batch> expected = epoch_with(options_with(0), 0);
  for (const std::int64_t prefetch : {0, 2}) {
    DataLoader loader(numbered_images(), options_with(prefetch));
    loader.start(0, 0);
    std::vector<at::Tensor> views;
    for (Batch batch; loader.next(batch);) {
      views.push_back(batch.input.select(0, 1));
    }
    for (std::size_t i = 0; i < views.size(); ++i) {
      EXPECT_TRUE(views[i].equal(expected[i].input.select(0, 1))) << "batch " << i;
    }
  }
}

TEST(Loader, BatchesAskForNoGradientThoughTheCallerDid) {
  DataLoader loader(numbered_images(), options_with(1));
  loader.start(0, 0);
  for (Batch batch; loader.next(batch);) {
    EXPECT_FALSE(batch.input.requires_grad());
    batch.input.set_requires_grad(true);
  }
}

TEST(Loader, StopsInMidEpoch) {
  for (const std::int64_t prefetch : {1, 4}) {
    DataLoader loader(numbered_images(), options_with(prefetch));
    loader.start(0, 0);
    Batch batch;
    ASSERT_TRUE(loader.next(batch));
    loader.start(1, 2);
    ASSERT_TRUE(loader.next(batch));
    EXPECT_TRUE(batch.target.equal(epoch_with(options_with(0), 1)[2].target));
  }
}

TEST(Loader, StaysAtTheEndOfTheEpoch) {
  for (const std::int64_t prefetch : {0, 2}) {
    DataLoader loader(numbered_images(), options_with(prefetch));
    EXPECT_EQ(rest_of_epoch(loader, 0, 0).size(), 5U);
    Batch batch;
    EXPECT_FALSE(loader.next(batch));
    EXPECT_FALSE(loader.next(batch));
    EXPECT_FALSE(batch.input.defined());
  }
}

/// A user's own data set, whose fourth batch can't be read.
class Failing : public SampleStore {
 public:
  [[nodiscard]] std::int64_t size() const override { return 100; }
  void gather(std::span<const Sample> samples, Batch& batch) const override {
    ensure_tensor(batch.input, {static_cast<std::int64_t>(samples.size())}, at::kLong);
    std::ranges::transform(samples, batch.input.mutable_data_ptr<std::int64_t>(), &Sample::index);
    if (samples[0].index >= 30) {
      fail("failing", "sample ", samples[0].index, " can't be read");
    }
  }
};

TEST(Loader, GivesOnWhatTheStoreThrows) {
  for (const std::int64_t prefetch : {0, 1, 4}) {
    DataLoader loader(std::make_shared<Failing>(), {.batch_size = 10, .shuffle = false, .prefetch = prefetch});
    loader.start(0, 0);
    Batch batch;
    for (std::int64_t i = 0; i < 3; ++i) {
      ASSERT_TRUE(loader.next(batch));
      EXPECT_EQ(values_of<std::int64_t>(batch.input)[0], 10 * i);
    }
    EXPECT_ERROR_WITH("sample 30 can't be read", loader.next(batch));
    EXPECT_ERROR_WITH("sample 30 can't be read", loader.next(batch));
  }
}

TEST(Loader, RefusesWhatCannotWork) {
  const Dataset images = numbered_images();
  const auto store = std::make_shared<Failing>();
  EXPECT_ERROR_WITH("batch_size is 24, the data set has 23 samples", DataLoader(images, {.batch_size = 24}));
  EXPECT_ERROR_WITH("batch_size is 24", DataLoader(images, {.batch_size = 24, .drop_last = true}));
  EXPECT_ERROR_WITH("batch_size is 0, allowed: >= 1", DataLoader(images, {.batch_size = 0}));
  EXPECT_ERROR_WITH("prefetch is -1", DataLoader(images, {.batch_size = 1, .prefetch = -1}));
  EXPECT_ERROR_WITH("the data set is empty", DataLoader(Dataset{}));
  EXPECT_ERROR_WITH("mean has 3 numbers", DataLoader(images, {.batch_size = 1, .mean = {1, 2, 3}}));
  EXPECT_ERROR_WITH("a store converts its samples itself", DataLoader(store, {.batch_size = 1, .flip = true}));
  DataLoader loader(images, {.batch_size = 10});
  Batch batch;
  EXPECT_ERROR_WITH("before start", loader.next(batch));
  EXPECT_ERROR_WITH("position is 4, allowed: from 0 to 3", loader.start(0, 4));
  EXPECT_ERROR_WITH("epoch is -1", loader.start(-1, 0));
}

}  // namespace
}  // namespace gradwise
