#include "gradwise/data/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "error_of.h"
#include "tensor_of.h"

namespace gradwise {
namespace {

Dataset numbered(std::int64_t size) { return make_dataset(counted<float>({size, 1}), counted<std::int64_t>({size})); }

TEST(Dataset, RefusesCountsThatDisagree) {
  EXPECT_ERROR_WITH("inputs have shape [3, 1], targets [2]",
                    make_dataset(counted<float>({3, 1}), counted<std::int64_t>({2})));
}

TEST(Dataset, NamesTheFirstLabelOutOfRange) {
  Dataset dataset;
  dataset.inputs = counted<float>({4, 1});
  dataset.targets = tensor_of<std::int64_t>({0, 2, 3, -1}, {4});
  check_labels(subset(dataset, std::vector<std::int64_t>{0, 1}), 3);
  EXPECT_ERROR_WITH("the label of sample 2 is 3, allowed: from 0 to 2", check_labels(dataset, 3));
  EXPECT_ERROR_WITH("the label of sample 3 is -1", check_labels(dataset, 4));
  dataset.targets = counted<float>({4});
  EXPECT_ERROR_WITH("targets are Float", check_labels(dataset, 3));
}

TEST(Dataset, SubsetTakesRowsInOrder) {
  const std::vector<std::int64_t> samples = {3, 0, 3};
  const Dataset part = subset(numbered(5), samples);
  EXPECT_EQ(values_of<float>(part.inputs), (std::vector<float>{3, 0, 3}));
  EXPECT_EQ(values_of<std::int64_t>(part.targets), samples);
  EXPECT_ERROR_WITH("no sample 5", subset(numbered(5), std::vector<std::int64_t>{5}));
}

TEST(Dataset, SplitDealsEverySampleOnce) {
  const Dataset dataset = numbered(100);
  const DatasetSplit parts = split(dataset, 0.8, 7);
  EXPECT_EQ(parts.first.size(), 80);
  EXPECT_EQ(parts.second.size(), 20);
  std::vector<std::int64_t> all = values_of<std::int64_t>(parts.first.targets);
  const std::vector<std::int64_t> rest = values_of<std::int64_t>(parts.second.targets);
  EXPECT_TRUE(std::ranges::is_sorted(all));
  all.insert(all.end(), rest.begin(), rest.end());
  std::ranges::sort(all);
  EXPECT_EQ(all, values_of<std::int64_t>(dataset.targets));
  EXPECT_TRUE(split(dataset, 0.8, 7).second.targets.equal(parts.second.targets));
  EXPECT_FALSE(split(dataset, 0.8, 8).second.targets.equal(parts.second.targets));
  EXPECT_ERROR_WITH("splits 2 samples into 0 and 2", split(numbered(2), 0.1, 0));
}

}  // namespace
}  // namespace gradwise
