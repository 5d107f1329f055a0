#include "gradwise/train/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"

namespace gradwise {
namespace {

struct Part {
  at::Tensor output;
  at::Tensor target;
};

double metric_over(const std::string& name, const std::vector<Part>& parts) {
  const std::unique_ptr<Metric> metric = make_metric(name);
  for (const Part& part : parts) {
    metric->update(part.output, part.target);
  }
  return metric->value();
}

// Scores of five samples for three classes, in two batches of unequal size.
std::vector<Part> classes() {
  return {{tensor_of<float>({5, 1, 0, /**/ 1, 5, 0, /**/ 0, 1, 5}, {3, 3}), tensor_of<std::int64_t>({0, 0, 2}, {3})},
          {tensor_of<float>({3, 2, 1, /**/ 1, 2, 3}, {2, 3}), tensor_of<std::int64_t>({2, 1}, {2})}};
}

TEST(Accuracy, CountsOverAllBatches) {
  // Ranks of the right classes: 0, 1, 0, 2, 1.
  EXPECT_DOUBLE_EQ(metric_over("accuracy", classes()), 2.0 / 5);
  EXPECT_DOUBLE_EQ(metric_over("top_1", classes()), 2.0 / 5);
  EXPECT_DOUBLE_EQ(metric_over("top_2", classes()), 4.0 / 5);
  EXPECT_DOUBLE_EQ(metric_over("top_3", classes()), 1.0);
  EXPECT_DOUBLE_EQ(metric_over("top_50", classes()), 1.0);
}

// Of equal scores the lower index is taken, as argmax does: all classes tie in each row.
TEST(Accuracy, CountsATieAsTheLowerIndex) {
  const std::vector<Part> ties = {
      {tensor_of<float>({1, 1, 1, /**/ 1, 1, 1, /**/ 1, 1, 1}, {3, 3}), tensor_of<std::int64_t>({0, 1, 2}, {3})}};
  EXPECT_DOUBLE_EQ(metric_over("accuracy", ties), 1.0 / 3);
  EXPECT_DOUBLE_EQ(metric_over("top_2", ties), 2.0 / 3);
  EXPECT_DOUBLE_EQ(metric_over("top_3", ties), 1.0);
}

TEST(Accuracy, TakesClassesInTheSecondDimension) {
  // (B, C, T) = (1, 2, 3) with (1, 3): column t holds the scores of position t.
  const at::Tensor target = tensor_of<std::int64_t>({0, 1, 1}, {1, 3});
  EXPECT_DOUBLE_EQ(metric_over("accuracy", {{tensor_of<float>({9, 9, 0, /**/ 1, 1, 1}, {1, 2, 3}), target}}), 2.0 / 3);
}

// A model that diverged must not look perfect: NaN compares as not above the right class.
TEST(Accuracy, CountsNoHitWhereAScoreIsNan) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<Part> broken = {{tensor_of<float>({nan, nan, nan, /**/ 1, nan, 9, /**/ 0, 1, 5}, {3, 3}),
                                     tensor_of<std::int64_t>({0, 2, 2}, {3})}};
  EXPECT_DOUBLE_EQ(metric_over("accuracy", broken), 1.0 / 3);
  EXPECT_DOUBLE_EQ(metric_over("top_3", broken), 1.0 / 3);
}

TEST(Accuracy, TakesNarrowClassIndices) {
  EXPECT_DOUBLE_EQ(
      metric_over("accuracy", {{tensor_of<float>({5, 1, 1, 5}, {2, 2}), tensor_of<std::uint8_t>({0, 1}, {2})}}), 1.0);
}

TEST(Perplexity, IsTheExponentialOfTheMeanCrossEntropy) {
  double sum = 0;
  double samples = 0;
  for (const Part& part : classes()) {
    const std::vector<float> scores = values_of<float>(part.output);
    const std::vector<std::int64_t> right = values_of<std::int64_t>(part.target);
    for (std::size_t i = 0; i < right.size(); ++i) {
      double partition = 0;
      for (std::size_t c = 0; c < 3; ++c) {
        partition += std::exp(static_cast<double>(scores[3 * i + c]));
      }
      sum += std::log(partition) - scores[3 * i + static_cast<std::size_t>(right[i])];
      samples += 1;
    }
  }
  EXPECT_NEAR(metric_over("perplexity", classes()), std::exp(sum / samples), 1e-5);
  // Equal scores for four classes: every guess has a chance of one in four.
  EXPECT_NEAR(metric_over("perplexity", {{tensor_of<float>({2, 2, 2, 2}, {1, 4}), tensor_of<std::int64_t>({3}, {1})}}),
              4.0, 1e-5);
}

// Outputs (B, 1) against targets (B): residuals 1, -1, 0, 2, -4.
std::vector<Part> values() {
  return {{tensor_of<float>({2, 1, 3}, {3, 1}), tensor_of<float>({1, 2, 3}, {3})},
          {tensor_of<float>({6, 1}, {2, 1}), tensor_of<float>({4, 5}, {2})}};
}

TEST(Errors, AreMeansOverAllElements) {
  EXPECT_DOUBLE_EQ(metric_over("mae", values()), (1 + 1 + 0 + 2 + 4) / 5.0);
  EXPECT_DOUBLE_EQ(metric_over("mse", values()), (1 + 1 + 0 + 4 + 16) / 5.0);
}

TEST(RSquared, ComparesWithTheMeanOverAllBatches) {
  // The targets 1..5 have mean 3 and total sum of squares 10; the residuals' is 22.
  EXPECT_DOUBLE_EQ(metric_over("r2", values()), 1 - 22.0 / 10);
  const std::vector<Part> perfect = {{tensor_of<float>({1, 2}, {2}), tensor_of<float>({1, 2}, {2})},
                                     {tensor_of<float>({9}, {1}), tensor_of<float>({9}, {1})}};
  EXPECT_DOUBLE_EQ(metric_over("r2", perfect), 1.0);
}

// Σy² - (Σy)²/n would lose all digits here: the targets are 1e6 + {0, 1, 2, 3}.
TEST(RSquared, DoesNotCancelFarFromZero) {
  const double m = 1e6;
  const std::vector<Part> far = {{tensor_of<double>({m, m + 1}, {2}), tensor_of<double>({m, m + 1}, {2})},
                                 {tensor_of<double>({m + 2, m + 2}, {2}), tensor_of<double>({m + 2, m + 3}, {2})}};
  EXPECT_NEAR(metric_over("r2", far), 1 - 1.0 / 5, 1e-9);
}

TEST(Metrics, SumInDouble) {
  // A million times 0.1 in float32 sums would be off in the third digit.
  const at::Tensor tenth = tensor_of<float>({0.1F}, {1}).expand({1000000});
  const at::Tensor zero = tensor_of<float>({0}, {1}).expand({1000000});
  EXPECT_NEAR(metric_over("mae", {{tenth, zero}}), static_cast<double>(0.1F), 1e-12);
}

TEST(Metrics, KnowTheirNames) {
  EXPECT_ERROR_WITH(
      "unknown metric \"acuracy\", allowed: accuracy, top_K (as top_5), perplexity, mae, mse, r2; "
      "did you mean \"accuracy\"?",
      make_metric("acuracy"));
  for (const char* name : {"top_", "top_0", "top_-1", "top_2x", ""}) {
    EXPECT_ERROR_WITH("unknown metric", make_metric(name));
  }
  for (const std::string& name : metric_names()) {
    EXPECT_TRUE(make_metric(name) != nullptr);
    EXPECT_EQ(larger_is_better(name), name == "accuracy" || name == "top_5" || name == "r2") << name;
  }
  EXPECT_FALSE(larger_is_better("loss"));
}

TEST(Metrics, ShowShapesThatDoNotFit) {
  const std::vector<Part> columns = {{tensor_of<float>({1, 2}, {2, 1}), tensor_of<std::int64_t>({0, 0}, {2, 1})}};
  EXPECT_ERROR_WITH("the output has shape [2, 1], the classes [2, 1]", metric_over("accuracy", columns));
  EXPECT_ERROR_WITH("the output has shape [2], the target [3]",
                    metric_over("mse", {{tensor_of<float>({1, 2}, {2}), tensor_of<float>({1, 2, 3}, {3})}}));
}

}  // namespace
}  // namespace gradwise
