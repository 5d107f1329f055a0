#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "gradwise/optim/autograd_optimizer.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

/// f(x) = 1/2 xᵀAx - bᵀx with A = [[3, 1], [1, 2]], b = (1, -4). Its minimum is at A⁻¹b = (6/5, -13/5), where it
/// is -bᵀA⁻¹b/2 = -(6/5 + 52/5)/2 = -5.8.
struct Quadratic {
  at::Tensor x = tensor_of<double>({5, 5}, {2}).requires_grad_();
  at::Tensor a = tensor_of<double>({3, 1, 1, 2}, {2, 2});
  at::Tensor b = tensor_of<double>({1, -4}, {2});

  [[nodiscard]] Model model() const {
    Model model;
    model.parameters.add("x", x);
    model.forward = [x = x, a = a, b = b](const Batch&) { return x.dot(a.mv(x)).mul(0.5).sub(b.dot(x)); };
    return model;
  }
};

at::Tensor itself(const at::Tensor& output, const at::Tensor& /*target*/) { return output; }

OptimizerOptions lbfgs(bool line_search) {
  OptimizerOptions options;
  options.name = "lbfgs";
  options.lr = line_search ? 1.0 : 0.3;
  options.line_search = line_search;
  return options;
}

TEST(Lbfgs, FindsTheMinimumOfAQuadratic) {
  for (const bool line_search : {true, false}) {
    const Quadratic problem;
    AutogradOptimizer optimizer(problem.model(), lbfgs(line_search));
    double last = 0;
    for (int i = 0; i < 8; ++i) {
      last = optimizer.step(itself, problem.b, problem.b).loss;
    }
    EXPECT_NEAR(last, -5.8, 1e-9) << "line search " << line_search;
    // It stops where the loss changes by 1e-9, which leaves the root of that in x.
    expect_close(problem.x, tensor_of<double>({1.2, -2.6}, {2}), 1e-4);
  }
}

TEST(Lbfgs, ReportsTheFirstEvaluationAndClipsNothing) {
  const Quadratic problem;
  AutogradOptimizer optimizer(problem.model(), lbfgs(true));
  const StepInfo info = optimizer.step(itself, problem.b, problem.b);
  EXPECT_DOUBLE_EQ(info.loss, 0.5 * (5 * 20 + 5 * 15) - (5 - 20));
  EXPECT_NEAR(info.grad_norm, std::sqrt(19.0 * 19 + 19 * 19), 1e-9);  // A x - b = (20 - 1, 15 + 4)
  EXPECT_EQ(info.grad_norm_clipped, info.grad_norm);
  EXPECT_FALSE(info.clipped);
  const std::vector<at::Tensor> moved = {problem.x.detach().sub(tensor_of<double>({5, 5}, {2}))};
  EXPECT_NEAR(info.update_norm, norm_of(moved), 1e-9);
  EXPECT_NEAR(info.update_ratio, norm_of(moved) / std::sqrt(50.0), 1e-9);
}

TEST(Lbfgs, AWindowOfMicroBatchesEqualsOneBatch) {
  const Batch batch = toy_batch(10, 100, at::kDouble);
  const Model small = toy_model(1, at::kDouble);
  const Model large = toy_model(1, at::kDouble);
  OptimizerOptions short_search = lbfgs(true);
  short_search.max_iter = 5;
  AutogradOptimizer by_parts(small, short_search);
  AutogradOptimizer at_once(large, short_search);
  for (int i = 0; i < 2; ++i) {
    for (const std::int64_t from : {0, 4, 8}) {
      by_parts.accumulate(squared_error, part_of(batch, from, std::min<std::int64_t>(from + 4, 10)), 3);
    }
    const StepInfo parts = by_parts.finish_step();
    const StepInfo whole = at_once.step(squared_error, batch.input, batch.target);
    EXPECT_NEAR(parts.loss, whole.loss, 1e-8);
    EXPECT_EQ(parts.samples, 10);
    EXPECT_EQ(parts.micro_batches, 3);
  }
  expect_close(small.parameters.tensors, large.parameters.tensors, 1e-6);
}

}  // namespace
}  // namespace gradwise
