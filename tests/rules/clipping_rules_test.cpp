#include <limits>

#include "tests/rules/histories.h"

namespace gradwise {
namespace {

Change clipping(double norm, std::int64_t but_every) {
  return [=](DraftStep& step) {
    step.info.grad_norm = norm;
    step.info.clipped = step.info.step % but_every != 0;
    step.info.grad_norm_clipped = step.info.clipped ? 1 : norm;
  };
}

TEST(AlwaysClipped, ByFar) {
  EXPECT_TRUE(fires(always_clipped(), training(120, clipping(20, 25))));
  EXPECT_FALSE(fires(always_clipped(), training(120)));
  EXPECT_FALSE(fires(always_clipped(), training(120, clipping(9, 25)))) << "a ninth is left";
  EXPECT_FALSE(fires(always_clipped(), training(120, clipping(20, 10)))) << "nine of ten steps";
  EXPECT_FALSE(fires(always_clipped(), training(99, clipping(20, 25))));
}

TEST(NeverClipped, InThreeHundredSteps) {
  const auto bounded = [](double bound) { return [bound](RunFacts& facts) { facts.clip_max_norm = bound; }; };
  EXPECT_TRUE(fires(never_clipped(), with_facts(training(320), bounded(20))));
  EXPECT_FALSE(fires(never_clipped(), training(320)));
  EXPECT_FALSE(fires(never_clipped(), with_facts(training(320), bounded(18))));
  EXPECT_FALSE(fires(never_clipped(), with_facts(training(299), bounded(20))));
  EXPECT_FALSE(fires(never_clipped(), with_facts(training(320), bounded(std::numeric_limits<double>::infinity()))));
  EXPECT_FALSE(fires(never_clipped(), with_facts(training(320), bounded(kNotMeasured))));
}

}  // namespace
}  // namespace gradwise
