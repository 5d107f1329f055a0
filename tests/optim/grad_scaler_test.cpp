#include "gradwise/optim/grad_scaler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

// The comparison with torch.amp.GradScaler stands in test_ema_and_scaler.py; here is what it does not reach.

GradScalerOptions small_scaler() {
  GradScalerOptions options;
  options.init_scale = 8;
  options.growth_factor = 4;
  options.backoff_factor = 0.25;
  options.growth_interval = 2;
  return options;
}

TEST(GradScaler, ScalesAndUnscales) {
  GradScaler scaler(small_scaler());
  EXPECT_EQ(scaler.scale(tensor_of<float>({1.5F}, {})).item<float>(), 12.0F);
  const std::vector<at::Tensor> gradients = {tensor_of<float>({8, -4}, {2}), tensor_of<float>({80}, {1})};
  EXPECT_TRUE(scaler.unscale(gradients));
  EXPECT_EQ(values_of<float>(gradients[0]), (std::vector<float>{1, -0.5}));
  EXPECT_EQ(values_of<float>(gradients[1]), std::vector<float>{10});
}

TEST(GradScaler, GrowsAfterGoodStepsInARowAndBacksOff) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const struct {
    float gradient;
    double scale;  // after the step
    std::int64_t tracker;
  } steps[] = {{1, 8, 1}, {infinity, 2, 0}, {1, 2, 1}, {1, 8, 0}, {1, 8, 1}, {nan, 2, 0}, {-infinity, 0.5, 0}};
  GradScaler scaler(small_scaler());
  for (const auto& step : steps) {
    const bool finite = scaler.unscale({tensor_of<float>({1, step.gradient}, {2})});
    EXPECT_EQ(finite, std::isfinite(step.gradient));
    scaler.update();
    EXPECT_EQ(scaler.get_scale(), step.scale);
    EXPECT_EQ(scaler.growth_tracker(), step.tracker);
  }
}

TEST(GradScaler, WithoutGradientsIsAGoodStep) {
  GradScaler scaler(small_scaler());
  EXPECT_TRUE(scaler.unscale({}));
  scaler.update();
  EXPECT_EQ(scaler.growth_tracker(), 1);
}

TEST(GradScaler, RefusesCallsOutOfOrder) {
  GradScaler scaler;
  EXPECT_ERROR_WITH("update was called without unscale", scaler.update());
  (void)scaler.unscale({});
  EXPECT_ERROR_WITH("unscale was called twice", scaler.unscale({}));
}

TEST(GradScaler, StateHoldsTheCounterToo) {
  GradScaler scaler(small_scaler());
  (void)scaler.unscale({});
  scaler.update();
  GradScaler continued;
  continued.load_state(scaler.state());
  (void)continued.unscale({});
  continued.update();
  EXPECT_EQ(continued.get_scale(), 32) << "the second good step grows by the saved factor";
}

}  // namespace
}  // namespace gradwise
