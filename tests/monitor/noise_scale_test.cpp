#include "gradwise/monitor/noise_scale.h"

#include <ATen/core/Generator.h>
#include <ATen/ops/cosine_similarity.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gradwise/core/random_state.h"
#include "gradwise/monitor/as_initialized.h"

namespace gradwise {
namespace {

// Gradients whose noise is known: the true one has norm 1, each of `parts` elements noise of deviation `noise` a
// sample.
std::vector<ParameterReading> noisy_step(at::Tensor& before, std::int64_t samples, double noise) {
  constexpr std::int64_t kElements = 4000;
  const at::Tensor now = at::randn({kElements}, at::kDouble)
                             .mul(noise / std::sqrt(static_cast<double>(samples)))
                             .add(1 / std::sqrt(static_cast<double>(kElements)));
  ParameterReading reading;
  reading.grad_norm = now.norm().item<double>();
  if (before.defined()) {
    reading.grad_cosine = at::cosine_similarity(now, before, 0).item<double>();
  }
  before = now;
  return {reading};
}

TEST(NoiseScale, IsTheTraceOverTheSquareOfTheGradient) {
  seed_everything(1);
  NoiseScale scale;
  at::Tensor before;
  double estimate = kNotMeasured;
  for (int step = 0; step < 200; ++step) {
    estimate = scale.add(noisy_step(before, 16, 0.1), 16);
    EXPECT_EQ(std::isnan(estimate), step < 20) << step;
  }
  const double exact = 4000 * 0.1 * 0.1;  // tr(Sigma) / |G|^2
  EXPECT_NEAR(estimate, exact, 0.1 * exact);
}

TEST(NoiseScale, PassesOverRaggedSteps) {
  seed_everything(1);
  NoiseScale scale;
  NoiseScale misled;
  at::Tensor before;
  double estimate = kNotMeasured;
  double wrong = kNotMeasured;
  for (int step = 0; step < 300; ++step) {
    const std::int64_t samples = step % 10 == 9 ? 1 : 16;
    const std::vector<ParameterReading> seen = noisy_step(before, samples, 0.1);
    estimate = samples == 1 ? scale.pass_over() : scale.add(seen, samples);
    wrong = misled.add(seen, samples);
  }
  const double exact = 4000 * 0.1 * 0.1;
  EXPECT_NEAR(estimate, exact, 0.1 * exact);
  EXPECT_GT(std::abs(wrong - exact), 0.2 * exact);
}

TEST(NoiseScale, HasNoFigureForGradientsWithoutADirection) {
  NoiseScale scale;
  ParameterReading reading;
  reading.grad_norm = 1;
  reading.grad_cosine = 0.5;
  for (int step = 0; step < 40; ++step) {
    (void)scale.add(std::vector{reading}, 8);
  }
  const double so_far = scale.add(std::vector{reading}, 8);
  EXPECT_NEAR(so_far, 8, 1e-9) << "(1 - 0.5) / 0.5 of 8 samples";
  EXPECT_EQ(scale.pass_over(), so_far);
  EXPECT_EQ(scale.add(std::vector{reading}, 8), so_far) << "the pair with the step passed over does not count";
  reading.grad_norm = 0;
  reading.grad_cosine = kNotMeasured;
  EXPECT_TRUE(std::isnan(scale.add(std::vector{reading}, 8)));
}

TEST(NoiseScale, IsNotToldWhereGradientsDoNotAgree) {
  NoiseScale scale;
  for (int step = 0; step < 60; ++step) {
    ParameterReading reading;
    reading.grad_norm = 1;
    reading.grad_cosine = 0.001;
    EXPECT_TRUE(std::isnan(scale.add(std::vector{reading}, 8)));
  }
}

TEST(AsInitialized, TellsRandomNumbersFromOthers) {
  seed_everything(2);
  EXPECT_TRUE(looks_as_initialized(at::randn({64, 64}).mul(std::sqrt(2.0 / 64)))) << "He";
  EXPECT_TRUE(looks_as_initialized(at::rand({32, 64}).sub(0.5).mul(2 / std::sqrt(64.0)))) << "PyTorch's own";
  EXPECT_TRUE(looks_as_initialized(at::randn({32, 16, 3, 3}).mul(std::sqrt(2.0 / (9 * 48))))) << "Xavier";
  EXPECT_TRUE(looks_as_initialized(at::randn({64, 64}).mul(0.02)));
  EXPECT_TRUE(looks_as_initialized(at::randn({64}).mul(0.1)));
  EXPECT_FALSE(looks_as_initialized(at::randn({64, 64}).mul(0.1))) << "of no usual scale";
  EXPECT_FALSE(looks_as_initialized(at::randn({64, 64}).pow(3).div(std::sqrt(15.0)))) << "heavy tails";
  EXPECT_FALSE(looks_as_initialized(at::rand({64, 64}))) << "not around 0";
  EXPECT_FALSE(looks_as_initialized(at::rand({5, 5}).sub(0.5))) << "too few";
  EXPECT_FALSE(looks_as_initialized(at::rand({64, 64}).round().to(at::kLong)));
  EXPECT_FALSE(looks_as_initialized(at::rand({1}).expand({64, 64}))) << "one number";
}

}  // namespace
}  // namespace gradwise
