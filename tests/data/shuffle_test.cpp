#include "gradwise/data/shuffle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace gradwise {
namespace {

using Order = std::vector<std::int64_t>;

Order epoch_order(std::int64_t size, std::int64_t seed, std::int64_t epoch) {
  return shuffled_order(size, stream_key(seed, epoch, Stream::order));
}

// The published first outputs of SplitMix64 from the state 1234567.
TEST(Shuffle, IsSplitMix64) {
  EXPECT_EQ(random_bits(1234567, 0), 6457827717110365317U);
  EXPECT_EQ(random_bits(1234567, 1), 3203168211198807973U);
  EXPECT_EQ(random_bits(1234567, 2), 9817491932198370423U);
}

// Made by a second implementation in Python. A change here breaks the resuming of runs that others have on disk.
TEST(Shuffle, OrdersStayTheSameForEver) {
  EXPECT_EQ(epoch_order(10, 0, 0), (Order{1, 0, 8, 4, 6, 7, 2, 9, 3, 5}));
  EXPECT_EQ(epoch_order(10, 0, 1), (Order{4, 9, 3, 2, 5, 7, 8, 0, 6, 1}));
  EXPECT_EQ(epoch_order(10, 42, 3), (Order{8, 9, 5, 4, 1, 0, 6, 7, 3, 2}));
  EXPECT_EQ(epoch_order(10, -1, 0), (Order{5, 9, 1, 3, 4, 7, 2, 8, 0, 6}));
}

TEST(Shuffle, IsAPermutation) {
  for (const std::int64_t size : {0, 1, 2, 1000}) {
    Order order = epoch_order(size, 5, 6);
    std::ranges::sort(order);
    for (std::int64_t i = 0; i < size; ++i) {
      ASSERT_EQ(order[static_cast<std::size_t>(i)], i);
    }
  }
}

// 24 orders of 4 over 24,000 epochs: 1000 each, with a standard deviation of 31.
TEST(Shuffle, IsUniform) {
  std::map<Order, int> counts;
  for (std::int64_t epoch = 0; epoch < 24000; ++epoch) {
    ++counts[epoch_order(4, 1, epoch)];
  }
  EXPECT_EQ(counts.size(), 24U);
  for (const auto& [order, count] : counts) {
    EXPECT_NEAR(count, 1000, 160);
  }
}

TEST(Shuffle, BelowCoversItsRange) {
  EXPECT_EQ(below(7, 0), 0U);
  EXPECT_EQ(below(7, ~std::uint64_t{0}), 6U);
  EXPECT_EQ(below(2, std::uint64_t{1} << 63), 1U);
}

}  // namespace
}  // namespace gradwise
