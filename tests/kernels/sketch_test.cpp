// Sketches on every instruction set against the portable form; what their inner products estimate.
#include "gradwise/kernels/sketch.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cmath>
#include <vector>

#include "tests/kernels/numbers.h"
#include "tests/kernels/same_moments.h"

namespace gradwise::kernels {
namespace {

const Case kOrdinary{"ordinary", 1, 0.1, 0};

class SketchOf : public testing::TestWithParam<Element> {};

TEST_P(SketchOf, MatchesThePortableFormOnEveryTarget) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const std::size_t count : {0, 1, 5, 1000, 1023, 1024, 1025, 5003}) {
      SCOPED_TRACE(std::string(hwy::TargetName(target)) + ", " + std::to_string(count) + " elements");
      const std::vector<std::byte> data = stored_as(numbers(count, kOrdinary, 3), GetParam());
      Sketch fast{};
      Sketch reference{};
      (void)read_and_sketch(data.data(), count, GetParam(), fast, count % 3);
      add_to_sketch_portable(data.data(), count, GetParam(), reference, count % 3 * kSketchSize);
      EXPECT_EQ(fast, reference);
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// Blocks that vectors can't sum, of numbers that are not finite or nearly so, are read once more: not into the sketch.
TEST_P(SketchOf, ComesWithTheBitsOfMoments) {
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::GetChosenTarget().Update(target);
    for (const Case& how : {kOrdinary, Case{"huge", 1e30, 0.1, 0}, Case{"not finite", 1, 0.1, 0.05}}) {
      const std::vector<std::byte> data = stored_as(numbers(5003, how, 4), GetParam());
      Sketch sketch{};
      Sketch reference{};
      const Moments with = read_and_sketch(data.data(), 5003, GetParam(), sketch);
      expect_same(with, read_moments(data.data(), 5003, GetParam()), 0);
      add_to_sketch_portable(data.data(), 5003, GetParam(), reference);
      for (std::size_t i = 0; i < kSketchSize; ++i) {
        EXPECT_TRUE(sketch[i] == reference[i] || (std::isnan(sketch[i]) && std::isnan(reference[i])))
            << hwy::TargetName(target) << ", " << how.name << ", bucket " << i;
      }
    }
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

INSTANTIATE_TEST_SUITE_P(Kernels, SketchOf,
                         testing::Values(Element::float32, Element::float64, Element::float16, Element::bfloat16));

double exact_cosine(const std::vector<double>& x, const std::vector<double>& y) {
  double dot = 0;
  double xx = 0;
  double yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    dot += x[i] * y[i];
    xx += x[i] * x[i];
    yy += y[i] * y[i];
  }
  return dot / std::sqrt(xx * yy);
}

double sketched_cosine(const std::vector<double>& x, const std::vector<double>& y) {
  Sketch a{};
  Sketch b{};
  add_to_sketch_portable(x.data(), x.size(), Element::float64, a);
  add_to_sketch_portable(y.data(), y.size(), Element::float64, b);
  return cosine(a, b);
}

TEST(Sketch, OfAFewElementsIsExact) {
  const std::vector<double> x = numbers(1024, kOrdinary, 1);
  const std::vector<double> y = numbers(1024, kOrdinary, 2);
  EXPECT_NEAR(sketched_cosine(x, y), exact_cosine(x, y), 1e-6);
}

// Rows that are alike, as those of a layer's gradient are: blocks must not be taken for one another.
TEST(Sketch, EstimatesTheCosineWithinItsError) {
  double squared_errors = 0;
  constexpr int kTrials = 40;
  for (unsigned int trial = 0; trial < kTrials; ++trial) {
    const std::vector<double> row = numbers(1024, kOrdinary, 100 + trial);
    const std::vector<double> noise = numbers(1024 * 40, kOrdinary, 200 + trial);
    std::vector<double> x(noise.size());
    std::vector<double> y(noise.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      x[i] = row[i % 1024] + 0.3 * noise[i];
      y[i] = row[i % 1024] * (i / 1024 % 3 == 0 ? -1 : 1) - 0.3 * noise[x.size() - 1 - i];
    }
    const double error = sketched_cosine(x, y) - exact_cosine(x, y);
    squared_errors += error * error;
  }
  EXPECT_LT(std::sqrt(squared_errors / kTrials), 2.0 / 32);
}

TEST(Sketch, OfPartsAddsUpToTheWhole) {
  const std::vector<double> x = numbers(5003, kOrdinary, 1);
  Sketch whole{};
  Sketch first{};
  Sketch rest{};
  (void)read_and_sketch(x.data(), x.size(), Element::float64, whole);
  (void)read_and_sketch(x.data(), 2048, Element::float64, first);
  (void)read_and_sketch(x.data() + 2048, x.size() - 2048, Element::float64, rest, 2);
  for (std::size_t i = 0; i < kSketchSize; ++i) {
    EXPECT_NEAR(first[i] + rest[i], whole[i], 1e-5);
  }
}

TEST(Sketch, HasNoCosineWithNothing) {
  EXPECT_TRUE(std::isnan(sketched_cosine({0, 0}, {1, 2})));
  EXPECT_TRUE(std::isnan(sketched_cosine({NAN, 0}, {1, 2})));
  EXPECT_DOUBLE_EQ(sketched_cosine({1, 2}, {-2, -4}), -1);
}

}  // namespace
}  // namespace gradwise::kernels
