// The pass over weights and their update, on every instruction set, against the portable one and by hand.
#include "gradwise/kernels/weight_moments.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <vector>

#include "tests/kernels/numbers.h"

namespace gradwise::kernels {
namespace {

class WeightPass : public testing::TestWithParam<Element> {};

TEST_P(WeightPass, MatchesThePortableOneOnEveryTarget) {
  const Case how{"ordinary", 0.1, 0.1, 0};
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const std::size_t count : {0, 1, 17, 1024, 1025, 5003}) {
      SCOPED_TRACE(std::string(hwy::TargetName(target)) + ", " + std::to_string(count) + " elements");
      const std::vector<std::byte> weights = stored_as(numbers(count, how, 1), GetParam());
      std::vector<std::byte> before = stored_as(numbers(count, how, 2), GetParam());
      std::vector<std::byte> reference_before = before;
      const WeightMoments fast = read_weights(weights.data(), before.data(), count, GetParam());
      const WeightMoments reference = read_weights_portable(weights.data(), reference_before.data(), count, GetParam());
      EXPECT_EQ(before, weights);
      EXPECT_EQ(fast.count, reference.count);
      EXPECT_EQ(fast.max_abs, reference.max_abs);
      EXPECT_NEAR(fast.sum, reference.sum, 4e-6 * std::sqrt(reference.sum_squares * static_cast<double>(count)));
      EXPECT_NEAR(fast.sum_squares, reference.sum_squares, 4e-6 * reference.sum_squares);
      EXPECT_NEAR(fast.update_squares, reference.update_squares, 4e-6 * reference.update_squares);
      EXPECT_NEAR(fast.squares_before, reference.squares_before, 4e-6 * reference.squares_before);
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

INSTANTIATE_TEST_SUITE_P(Kernels, WeightPass,
                         testing::Values(Element::float32, Element::float64, Element::float16, Element::bfloat16));

TEST(WeightMoments, GivesTheNamedFigures) {
  const std::vector<float> now = {3, -4, 0};
  std::vector<float> before = {3, -2, 1};
  const WeightMoments m = read_weights(now.data(), before.data(), 3, Element::float32);
  EXPECT_EQ(m.sum, -1);
  EXPECT_EQ(m.sum_squares, 25);
  EXPECT_EQ(m.max_abs, 4);
  EXPECT_EQ(m.update_squares, 5);
  EXPECT_EQ(m.squares_before, 14);
  EXPECT_EQ(before, now);
}

TEST(WeightMoments, SayThatAWeightIsNotFinite) {
  const std::vector<float> now(100, NAN);
  std::vector<float> before(100, 0);
  EXPECT_TRUE(std::isnan(read_weights(now.data(), before.data(), 100, Element::float32).sum_squares));
}

}  // namespace
}  // namespace gradwise::kernels
