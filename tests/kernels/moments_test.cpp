// The vector pass against the element-by-element one, for every type, length and kind of number, on every instruction
// set that this machine has.
#include "gradwise/kernels/moments.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <string>
#include <vector>

#include "gradwise/kernels/for_each_element.h"
#include "gradwise/kernels/histogram.h"
#include "tests/kernels/numbers.h"
#include "tests/kernels/same_moments.h"

namespace gradwise::kernels {
namespace {

constexpr double kRounding = 4e-6;  // of float32 sums

class EveryType : public testing::TestWithParam<std::tuple<Element, Case>> {};

TEST_P(EveryType, MatchesThePortablePassOnEveryTarget) {
  const auto& [type, how] = GetParam();
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const std::size_t count : {0, 1, 7, 15, 16, 31, 32, 1000, 1023, 1024, 1025, 4096, 5000}) {
      SCOPED_TRACE(std::string(hwy::TargetName(target)) + ", " + std::to_string(count) + " elements");
      const std::vector<std::byte> data = stored_as(numbers(count, how, static_cast<unsigned int>(count)), type);
      const Moments reference = read_moments_portable(data.data(), count, type);
      expect_same(read_moments(data.data(), count, type), reference, kRounding);
      expect_same(read_moments(data.data(), count, type, {data.data(), count}), reference, kRounding);
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

std::string name_of(const testing::TestParamInfo<std::tuple<Element, Case>>& info) {
  constexpr const char* kTypes[] = {"float32", "float64", "float16", "bfloat16"};
  return std::string(kTypes[static_cast<int>(std::get<0>(info.param))]) + "_" + std::get<1>(info.param).name;
}

INSTANTIATE_TEST_SUITE_P(
    Moments, EveryType,
    testing::Combine(testing::Values(Element::float32, Element::float64, Element::float16, Element::bfloat16),
                     testing::Values(Case{"ordinary", 1, 0, 0}, Case{"sparse", 0.01, 0.9, 0}, Case{"all_zero", 1, 1, 0},
                                     Case{"nonfinite", 1, 0.1, 0.1}, Case{"all_nonfinite", 1, 0, 1},
                                     Case{"tiny", 1e-30, 0.1, 0}, Case{"huge", 1e30, 0.1, 0})),
    name_of);

TEST(Moments, GivesTheNamedFigures) {
  const std::vector<float> values = {3, -4, 0, NAN, INFINITY};
  const Moments m = read_moments(values.data(), values.size(), Element::float32);
  EXPECT_EQ(m.finite(), 3);
  EXPECT_EQ(m.l1(), 7);
  EXPECT_EQ(m.l2(), 5);
  EXPECT_EQ(m.max_abs(), 4);
  EXPECT_DOUBLE_EQ(m.mean(), -1.0 / 3);
  EXPECT_DOUBLE_EQ(m.variance(), 25.0 / 3 - 1.0 / 9);
  EXPECT_EQ(m.nans, 1);
  EXPECT_EQ(m.infs, 1);
}

TEST(Moments, OfNothingFiniteAreNan) {
  const float value = NAN;
  const Moments m = read_moments(&value, 1, Element::float32);
  EXPECT_TRUE(std::isnan(m.mean()));
  EXPECT_TRUE(std::isnan(m.variance()));
  EXPECT_EQ(m.max_abs(), 0);
}

TEST(Moments, KeepTheNormOfTinyAndOfHugeFloats) {
  const std::vector<float> tiny(4096, 1e-30F);
  const std::vector<float> huge(4096, 1e30F);
  EXPECT_NEAR(read_moments(tiny.data(), tiny.size(), Element::float32).l2() / 64e-30, 1, 1e-6);
  EXPECT_NEAR(read_moments(huge.data(), huge.size(), Element::float32).l2() / 64e30, 1, 1e-6);
}

TEST(Moments, MergeAsOnePass) {
  const std::vector<double> values = numbers(3000, {"mixed", 1, 0.1, 0.05}, 9);
  Moments parts = read_moments(values.data(), 1100, Element::float64);
  parts.merge(read_moments(values.data() + 1100, 1900, Element::float64));
  expect_same(parts, read_moments(values.data(), 3000, Element::float64), kRounding);
}

TEST_P(EveryType, HistogramMatchesThePortableOneOnEveryTarget) {
  const auto& [type, how] = GetParam();
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const std::size_t count : {0, 1, 1000, 4095, 4096, 5003, 20001}) {
      SCOPED_TRACE(std::string(hwy::TargetName(target)) + ", " + std::to_string(count) + " elements");
      const std::vector<std::byte> data = stored_as(numbers(count, how, 5), type);
      Histogram fast{};
      Histogram reference{};
      add_to_histogram(data.data(), count, type, fast);
      add_to_histogram_portable(data.data(), count, type, reference);
      EXPECT_EQ(fast, reference);
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(HistogramOfMagnitudes, CountsManyEqualOnes) {
  const std::vector<float> values(700001, 1.5F);
  Histogram histogram{};
  add_to_histogram(values.data(), values.size(), Element::float32, histogram);
  EXPECT_EQ(histogram[32 - kHistogramLowest], 700001);
  EXPECT_EQ(histogram[0], 0);
}

TEST(HistogramOfMagnitudes, PutsEachNumberByItsSignAndPowerOfTwo) {
  const std::vector<float> values = {1, 1.5, -1, 0, NAN, INFINITY, 2, 1e-30F, -1e30F};
  Histogram histogram{};
  add_to_histogram(values.data(), values.size(), Element::float32, histogram);
  Histogram expected{};
  expected[32 + 26] = 2;  // 1 and 1.5
  expected[26] = 1;       // -1
  expected[32 + 27] = 1;  // 2
  expected[32] = 1;       // 1e-30, below all bins
  expected[31] = 1;       // -1e30, above all bins
  EXPECT_EQ(histogram, expected);
}

}  // namespace
}  // namespace gradwise::kernels
