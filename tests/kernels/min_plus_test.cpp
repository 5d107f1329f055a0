// The minimum of sums, on every instruction set, against the portable loop.
#include "gradwise/kernels/min_plus.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace gradwise::kernels {
namespace {

TEST(MinPlus, MatchesThePortableLoopOnEveryTarget) {
  std::mt19937 random(3);
  std::uniform_real_distribution<float> numbers(0, 10);
  const auto some = [&](std::size_t count) {
    std::vector<float> values(count);
    for (float& value : values) {
      value = numbers(random) < 1 ? std::numeric_limits<float>::infinity() : numbers(random);
    }
    return values;
  };
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const std::size_t count : {0, 1, 7, 16, 33, 501}) {
      const std::vector<float> a = some(count);
      const std::vector<float> b = some(count);
      std::vector<float> best = some(count);
      std::vector<float> reference = best;
      min_plus(best.data(), a.data(), b.data(), 1.5F, count);
      min_plus_portable(reference.data(), a.data(), b.data(), 1.5F, count);
      EXPECT_EQ(best, reference) << hwy::TargetName(target) << ", " << count << " elements";
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(MinPlus, OfPairsMatchesTheSingleOnesOnEveryTarget) {
  std::mt19937 random(4);
  std::uniform_real_distribution<float> numbers(0, 10);
  const auto some = [&](std::size_t rows, std::size_t count) {
    std::vector<std::vector<float>> values(rows, std::vector<float>(count));
    for (std::vector<float>& row : values) {
      for (float& value : row) {
        value = numbers(random) < 1 ? std::numeric_limits<float>::infinity() : std::round(numbers(random));
      }
    }
    return values;
  };
  constexpr std::size_t kSplits = 5;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const std::size_t count : {0, 1, 7, 16, 33, 501}) {
      const auto a = some(2 * kSplits, count);
      const auto b = some(2 * kSplits, count);
      auto best = some(4, count);
      auto reference = best;
      std::vector<PairOfSplits> splits;
      for (std::size_t k = 0; k < kSplits; ++k) {
        splits.push_back(
            {{a[2 * k].data(), a[2 * k + 1].data()}, {b[2 * k].data(), b[2 * k + 1].data()}, {1.5F, 2.5F}});
        for (std::size_t cell = 0; cell < 4; ++cell) {
          min_plus_portable(reference[cell].data(), splits[k].a[cell % 2], splits[k].b[cell / 2],
                            splits[k].constant[cell / 2], count);
        }
      }
      float* const cells[4] = {best[0].data(), best[1].data(), best[2].data(), best[3].data()};
      min_plus_pairs(cells, splits.data(), splits.size(), count);
      EXPECT_EQ(best, reference) << hwy::TargetName(target) << ", " << count << " elements";
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace
}  // namespace gradwise::kernels
