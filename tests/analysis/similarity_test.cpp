#include "gradwise/analysis/similarity.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gradwise/autograd/tensor_entries.h"
#include "gradwise/core/random_state.h"
#include "tests/data/tensor_of.h"

namespace gradwise {
namespace {

TEST(Similarity, AnglesOfKnownVectors) {
  const at::Tensor rows = tensor_of<double>({1, 0, 1, 1, -1, 0}, {3, 2});
  const std::vector<double> cosines = entries_of(row_cosines(rows));
  EXPECT_NEAR(cosines[1], std::sqrt(0.5), 1e-12);
  EXPECT_NEAR(cosines[2], -1, 1e-12);
  GradientAngles angles;
  fill_pair_angles(row_cosines(rows), 0.1, angles);
  EXPECT_NEAR(angles.mean.cosine, -1.0 / 3, 1e-12);
  EXPECT_NEAR(angles.mean.radians, (M_PI / 4 + M_PI + 3 * M_PI / 4) / 3, 1e-9);
  EXPECT_NEAR(angles.widest.radians, M_PI, 1e-9);
  EXPECT_NEAR(angles.conflicting, 2.0 / 3, 1e-12);
  fill_pair_angles(row_cosines(rows), 1.0, angles);
  EXPECT_NEAR(angles.conflicting, 1.0 / 3, 1e-12) << "3 pi / 4 is within pi / 2 + 1";
}

TEST(Similarity, DiversityAndConfusionByHand) {
  GradientCorrelation c;
  fill_correlation(tensor_of<double>({1, 0, 0, 1, -1, 0}, {3, 2}), 4, c);
  EXPECT_NEAR(c.diversity, 3.0, 1e-12);  // 3 / |(0, 1)|^2
  EXPECT_NEAR(c.confusion, 1.0, 1e-12);
  fill_correlation(at::ones({4, 5}), 4, c);
  EXPECT_NEAR(c.diversity, 0.25, 1e-12);
  EXPECT_NEAR(c.confusion, 0, 1e-12);
  EXPECT_NEAR(c.noise_scale, 0, 1e-9);
}

TEST(Similarity, NoiseScaleOfKnownNoise) {
  seed_everything(7);
  constexpr std::int64_t kSize = 5000;
  constexpr double kNoise = 0.3;  // of an element, a sample
  const at::Tensor truth = at::randn({kSize}, at::kDouble).div(std::sqrt(static_cast<double>(kSize)));
  const double exact = kSize * kNoise * kNoise / truth.square().sum().item<double>();
  const at::Tensor rows = at::randn({40, kSize}, at::kDouble).mul(kNoise / 4).add(truth);  // of 16 samples each
  const NoiseEstimate estimate = noise_scale_of(rows, 16);
  EXPECT_NEAR(estimate.scale, exact, 4 * estimate.error);
  EXPECT_LT(estimate.error, 0.2 * exact);
}

// Without the first row the sampled |G|^2 is below 0; the error is known all the same, and as wide as the scale.
TEST(Similarity, NoiseScaleHasAnErrorWhereverItIsMeasured) {
  const at::Tensor rows = tensor_of<double>({4, 1, 0, -1, 1, 0.2}, {3, 2});
  EXPECT_TRUE(std::isnan(noise_scale_of(rows.narrow(0, 1, 2), 8).scale));
  const NoiseEstimate estimate = noise_scale_of(rows, 8);
  // |G|^2 = sum of <g_i, g_j>, i < j, over 3; tr(Sigma) = 8 (mean |g_i|^2 - |G|^2).
  const double square = (-1 + 4.2 - 0.2) / 3;
  const double trace = 8 * ((17 + 1 + 1.04) / 3 - square);
  EXPECT_NEAR(estimate.scale, trace / square, 1e-9);
  EXPECT_GT(estimate.error, 0.5 * estimate.scale);
  EXPECT_TRUE(std::isnan(noise_scale_of(rows.narrow(0, 0, 2).abs(), 8).error)) << "two rows say nothing of it";
}

}  // namespace
}  // namespace gradwise
