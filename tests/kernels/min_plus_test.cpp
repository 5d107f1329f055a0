// The minimum of sums, on every instruction set, against the portable loop.
#include "gradwise/kernels/min_plus.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

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

}  // namespace
}  // namespace gradwise::kernels
