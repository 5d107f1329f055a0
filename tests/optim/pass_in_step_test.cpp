// What AutogradOptimizer gives the one pass to take along, and what it takes from it.
#include <gtest/gtest.h>

#include <cmath>

#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/optim/ema.h"
#include "tests/optim/fused_cases.h"

namespace gradwise {
namespace {

// The same training, averaged along or apart.
TEST(AutogradOptimizerPass, UpdatesTheAverageThatItIsGiven) {
  const Model one = toy_model();
  const Model two = toy_model();
  ExponentialMovingAverage along(one.parameters);
  ExponentialMovingAverage apart(two.parameters);
  AutogradOptimizer a(one);
  AutogradOptimizer b(two);
  a.set_average(&along);
  for (unsigned int step = 0; step < 5; ++step) {
    const Batch batch = toy_batch(8, 100 + step);
    (void)a.step(squared_error, batch.input, batch.target);
    (void)b.step(squared_error, batch.input, batch.target);
    apart.update();
  }
  EXPECT_EQ(along.num_updates(), 5);
  for (std::size_t i = 0; i < one.parameters.size(); ++i) {
    EXPECT_TRUE(one.parameters.tensors[i].equal(two.parameters.tensors[i]));
    expect_near(along.averages().tensors[i], apart.averages().tensors[i], 1e-7);
  }
  along.to(at::kDouble);  // another type than the weights': no longer in the pass
  const Batch batch = toy_batch(8, 200);
  (void)a.step(squared_error, batch.input, batch.target);
  EXPECT_EQ(along.num_updates(), 6);
  EXPECT_FALSE(along.averages().tensors[0].to(at::kFloat).equal(apart.averages().tensors[0]));
}

TEST(AutogradOptimizerPass, TakesANormThatWasReadAlready) {
  const Model model = toy_model();
  AutogradOptimizerOptions options;
  options.clip.max_norm = 1e-3;
  AutogradOptimizer optimizer(model, OptimizerOptions(), options);
  optimizer.accumulate(squared_error, toy_batch(8));
  const StepInfo info = optimizer.finish_step(std::nullopt, 0.5);
  EXPECT_EQ(info.grad_norm, 0.5);
  EXPECT_TRUE(info.clipped);
}

TEST(AutogradOptimizerPass, MeasuresASkippedStepAsOneThatMovedNothing) {
  const Model model = toy_model();
  AutogradOptimizer optimizer(model);
  Batch batch = toy_batch(8);
  batch.input.fill_(NAN);
  EXPECT_TRUE(optimizer.step(squared_error, batch.input, batch.target).skipped);
  ASSERT_EQ(optimizer.weight_moments().size(), 4U);
  for (const WeightMoments& moments : optimizer.weight_moments()) {
    EXPECT_EQ(moments.update_squares, 0);
    EXPECT_GT(moments.sum_squares, 0);
  }
}

}  // namespace
}  // namespace gradwise
