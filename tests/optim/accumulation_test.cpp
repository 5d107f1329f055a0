#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/optim/autograd_optimizer.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

struct WindowCase {
  const char* name;
  std::vector<std::int64_t> sizes;  ///< samples of each micro-batch
  std::int64_t window;              ///< micro-batches announced
};

class Accumulation : public testing::TestWithParam<WindowCase> {};

OptimizerOptions sgd() {
  OptimizerOptions options;
  options.name = "sgd";
  options.lr = 0.1;
  options.weight_decay = 0.01;
  options.momentum = 0.9;
  return options;
}

/// Takes `steps` windows in micro-batches and the same ones as large batches; compares all that comes of it.
void expect_equal_to_large_batch(const WindowCase& c, at::ScalarType dtype, double tolerance) {
  const std::int64_t samples = std::accumulate(c.sizes.begin(), c.sizes.end(), std::int64_t{0});
  const Model small = toy_model(1, dtype);
  const Model large = toy_model(1, dtype);
  AutogradOptimizer by_parts(small, sgd());
  AutogradOptimizer at_once(large, sgd());
  for (unsigned int step = 0; step < 3; ++step) {
    const Batch batch = toy_batch(samples, 50 + 10 * step, dtype);
    std::int64_t from = 0;
    for (const std::int64_t size : c.sizes) {
      by_parts.accumulate(squared_error, part_of(batch, from, from + size), c.window);
      from += size;
    }
    const StepInfo parts = by_parts.finish_step();
    const StepInfo whole = at_once.step(squared_error, batch.input, batch.target);
    EXPECT_NEAR(parts.loss, whole.loss, tolerance);
    EXPECT_NEAR(parts.grad_norm, whole.grad_norm, tolerance);
    EXPECT_EQ(parts.samples, samples);
    EXPECT_EQ(parts.micro_batches, static_cast<std::int64_t>(c.sizes.size()));
    EXPECT_EQ(parts.clipped, whole.clipped);
  }
  expect_close(small.parameters.tensors, large.parameters.tensors, tolerance);
}

TEST_P(Accumulation, EqualsOneLargeBatchInFloat32) { expect_equal_to_large_batch(GetParam(), at::kFloat, 5e-6); }
TEST_P(Accumulation, EqualsOneLargeBatchInFloat64) { expect_equal_to_large_batch(GetParam(), at::kDouble, 1e-13); }

INSTANTIATE_TEST_SUITE_P(All, Accumulation,
                         testing::Values(WindowCase{"single", {12}, 1}, WindowCase{"even", {4, 4, 4}, 3},
                                         WindowCase{"incomplete", {4, 4}, 3}, WindowCase{"one_of_five", {4}, 5},
                                         WindowCase{"ragged_end", {4, 4, 3}, 3},
                                         WindowCase{"ragged_and_incomplete", {4, 1}, 4},
                                         WindowCase{"growing", {1, 2, 7}, 3},
                                         WindowCase{"more_than_announced", {3, 3, 3}, 2}),
                         [](const testing::TestParamInfo<WindowCase>& info) { return std::string(info.param.name); });

TEST(AccumulationWindow, WeighsLossesBySamples) {
  const Batch batch = toy_batch(9);
  AutogradOptimizer optimizer(toy_model(), sgd());
  double weighted = 0;
  for (const auto& [from, to] : {std::pair{0, 6}, std::pair{6, 9}}) {
    const Batch part = part_of(batch, from, to);
    weighted += squared_error(toy_model().forward(part), part.target).item<double>() * (to - from);
    optimizer.accumulate(squared_error, part, 2);
  }
  EXPECT_NEAR(optimizer.finish_step().loss, weighted / 9, 1e-6);
}

TEST(AccumulationWindow, RefusesCallsOutOfOrder) {
  AutogradOptimizer optimizer(toy_model(), sgd());
  EXPECT_ERROR_WITH("finish_step was called before any accumulate", optimizer.finish_step());
  EXPECT_ERROR_WITH("abandon_step was called before any accumulate", optimizer.abandon_step());
  EXPECT_ERROR_WITH("window is 0, allowed: >= 1", optimizer.accumulate(squared_error, toy_batch(2), 0));
  EXPECT_ERROR_WITH("the batch is empty", optimizer.accumulate(squared_error, part_of(toy_batch(2), 1, 1)));
  optimizer.accumulate(squared_error, toy_batch(2));
  EXPECT_ERROR_WITH("between accumulate and finish_step", optimizer.state());
}

}  // namespace
}  // namespace gradwise
