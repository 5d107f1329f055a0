// The one-pass optimizer over tensors of every kind. Its formulas are compared with PyTorch's in test_parity.py.
#include "gradwise/optim/fused_optimizer.h"

#include <ATen/ops/sparse_coo_tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "tests/data/error_of.h"
#include "tests/optim/fused_cases.h"

namespace gradwise {
namespace {

class FusedRule : public testing::TestWithParam<std::string> {};

TEST_P(FusedRule, TakesUpAStateAndGoesOnWithTheSameBits) {
  const std::vector<at::Tensor> whole{random_tensor({9, 5}, 1), random_tensor({4}, 2)};
  const auto straight = fused(whole, options_of(GetParam()));
  take_steps(*straight, whole, 3);
  const State saved = optimizer_state(*straight, named(whole));
  const std::vector<at::Tensor> resumed = copies_of(whole);
  const auto other = fused(resumed, options_of(GetParam()));
  take_steps(*other, {}, 0);
  load_optimizer_state(*other, named(resumed), saved);
  take_steps(*straight, whole, 3, 900);
  take_steps(*other, resumed, 3, 900);
  EXPECT_TRUE(whole[0].equal(resumed[0]));
  EXPECT_TRUE(whole[1].equal(resumed[1]));
}

// torch::optim has no Lion.
TEST_P(FusedRule, SwapsItsStateWithLibTorchsOptimizer) {
  OptimizerOptions ours = options_of(GetParam());
  if (ours.name == "lion") {
    return;
  }
  OptimizerOptions theirs = ours;
  theirs.implementation = "torch";
  const std::vector<at::Tensor> a{random_tensor({9, 5}, 1)};
  const std::vector<at::Tensor> b = copies_of(a);
  const auto mine = fused(a, ours);
  const auto torchs = make_optimizer(theirs, named(b));
  take_steps(*mine, a, 3);
  load_optimizer_state(*torchs, named(b), optimizer_state(*mine, named(a)));
  for (int step = 0; step < 3; ++step) {
    const at::NoGradGuard no_grad;
    b[0].copy_(a[0]);
    at::Tensor(b[0]).mutable_grad() = random_tensor({9, 5}, 300 + static_cast<unsigned int>(step));
    at::Tensor(a[0]).mutable_grad() = b[0].grad();
    torchs->step();
    mine->step();
    expect_near(a[0], b[0], 1e-5);
  }
  const auto back = fused(b, ours);
  load_optimizer_state(*back, named(b), optimizer_state(*torchs, named(b)));
  const at::NoGradGuard no_grad;
  a[0].copy_(b[0]);
  mine->step();
  back->step();
  expect_near(a[0], b[0], 1e-5);
}

INSTANTIATE_TEST_SUITE_P(FusedOptimizer, FusedRule, testing::ValuesIn(names()));

TEST(FusedOptimizer, TakesSparseGradientsAsPyTorchDoes) {
  for (const char* name : {"sgd", "adagrad"}) {
    OptimizerOptions options = options_of(name);
    options.momentum = 0;
    options.weight_decay = 0;
    const std::vector<at::Tensor> a{random_tensor({6, 3}, 1)};
    const std::vector<at::Tensor> b = copies_of(a);
    const auto sparse = fused(a, options);
    const auto dense = fused(b, options);
    for (unsigned int step = 0; step < 4; ++step) {
      const at::Tensor rows = at::zeros({1, 2}, at::kLong);
      rows[0][1] = 4;
      const at::Tensor gradient = at::sparse_coo_tensor(rows, random_tensor({2, 3}, step), {6, 3});
      at::Tensor(a[0]).mutable_grad() = gradient;
      at::Tensor(b[0]).mutable_grad() = gradient.to_dense();
      sparse->step();
      dense->step();
    }
    expect_near(a[0], b[0], 1e-6);
  }
  const std::vector<at::Tensor> a{random_tensor({6, 3}, 1)};
  const auto adam = fused(a);
  at::Tensor(a[0]).mutable_grad() = random_tensor({6, 3}, 1).to_sparse();
  EXPECT_ERROR_WITH("a gradient is sparse, which this optimizer does not take, allowed: sgd, adagrad", adam->step());
}

TEST(FusedOptimizer, PassesOverWhatHasNoGradient) {
  const std::vector<at::Tensor> tensors{random_tensor({4}, 1), random_tensor({5}, 2)};
  const auto optimizer = fused(tensors);
  at::Tensor(tensors[1]).mutable_grad() = random_tensor({5}, 3);
  const at::Tensor before = tensors[0].detach().clone();
  optimizer->step();
  EXPECT_TRUE(tensors[0].equal(before));
  EXPECT_EQ(optimizer->weight_moments()[0].update_squares, 0);
  EXPECT_NEAR(optimizer->weight_moments()[0].sum_squares, before.square().sum().item<double>(), 1e-6);
  EXPECT_GT(optimizer->weight_moments()[1].update_squares, 0);
  EXPECT_EQ(optimizer->state().size(), 1U);
}

// Each parameter counts its own steps: a late one begins with the whole bias correction.
TEST(FusedOptimizer, CountsTheStepsOfEachParameter) {
  const std::vector<at::Tensor> tensors{at::zeros({4}), at::zeros({4})};
  OptimizerOptions options;
  options.lr = 0.01;
  const auto optimizer = fused(tensors, options);
  for (int step = 0; step < 10; ++step) {
    at::Tensor(tensors[0]).mutable_grad() = at::zeros({4}).fill_(2);
    if (step == 9) {
      at::Tensor(tensors[1]).mutable_grad() = at::zeros({4}).fill_(2);
    }
    optimizer->step();
  }
  EXPECT_NEAR(tensors[1][0].item<double>(), -0.01, 1e-6);
}

TEST(FusedOptimizer, TakesChangedRatesAndGroups) {
  const std::vector<at::Tensor> tensors{at::zeros({4})};
  OptimizerOptions options = options_of("sgd");
  options.momentum = options.weight_decay = 0;
  const auto optimizer = fused(tensors, options);
  at::Tensor(tensors[0]).mutable_grad() = at::zeros({4}).fill_(1);
  optimizer->step();
  optimizer->param_groups()[0].options().set_lr(1);
  optimizer->step();
  EXPECT_NEAR(tensors[0][0].item<double>(), -1.01, 1e-6);
}

TEST(FusedOptimizerErrors, NameTheParameterAndWhatIsWrong) {
  const at::Tensor storage = random_tensor({20}, 1);
  EXPECT_ERROR_WITH("parameters 0 and 1 share memory", fused({storage.slice(0, 0, 10), storage.slice(0, 9, 20)}));
  EXPECT_NO_THROW(fused({storage.slice(0, 0, 10), storage.slice(0, 10, 20)}));
  EXPECT_ERROR_WITH("parameter 0 of shape [3, 4] repeats its elements along dimension 0",
                    fused({random_tensor({4}, 1).expand({3, 4})}));
}

TEST(FusedOptimizerErrors, ComeBeforeAnythingHasMoved) {
  const std::vector<at::Tensor> tensors{random_tensor({4, 2}, 1), random_tensor({5, 2}, 2)};
  const auto optimizer = fused(tensors);
  const at::Tensor before = tensors[0].clone();
  at::Tensor(tensors[0]).mutable_grad() = random_tensor({4, 2}, 3);
  at::Tensor(tensors[1]).mutable_grad() = random_tensor({2, 5}, 4);
  EXPECT_ERROR_WITH("the gradient of parameter 1 is [2, 5] Float on cpu, the parameter [5, 2]", optimizer->step());
  at::Tensor(tensors[1]).mutable_grad() = random_tensor({5, 2}, 4).to_sparse();
  EXPECT_ERROR_WITH("a gradient is sparse", optimizer->step());
  EXPECT_TRUE(tensors[0].equal(before));
  EXPECT_TRUE(optimizer->state().empty());
  optimizer->measure_standing();
  EXPECT_EQ(optimizer->weight_moments()[0].count, 8) << "no step is left under way";
}

// Memory that was put in a parameter's place may be of another shape.
TEST(FusedOptimizerErrors, RefuseAParameterThatHasOutgrownItsState) {
  for (const std::string& name : names()) {
    const std::vector<at::Tensor> tensors{random_tensor({32, 10}, 1), random_tensor({3}, 2)};
    const auto optimizer = fused(tensors, options_of(name));
    take_steps(*optimizer, tensors, 1);
    const at::Tensor before = tensors[1].clone();
    for (const std::int64_t rows : {64, 16}) {
      at::Tensor(tensors[0]).set_data(random_tensor({rows, 10}, 3));
      give_gradients(tensors, 4);
      for (int again = 0; again < 2; ++again) {
        EXPECT_ERROR_WITH("parameter 0 is [" + std::to_string(rows) + ", 10], and its state is of [32, 10]",
                          optimizer->step());
      }
      EXPECT_TRUE(tensors[1].equal(before)) << name;
    }
    at::Tensor(tensors[0]).set_data(random_tensor({32, 10}, 3));
    give_gradients(tensors, 4);
    optimizer->step();
    EXPECT_FALSE(tensors[1].equal(before)) << name;
  }
  const std::vector<at::Tensor> tensors{random_tensor({4, 2}, 1)};
  const std::vector<at::Tensor> averages{random_tensor({3, 2}, 1)};
  const auto optimizer = fused(tensors);
  give_gradients(tensors, 1);
  EXPECT_ERROR_WITH("the average of parameter 0 is [3, 2] Float with strides [2, 1], the parameter [4, 2]",
                    optimizer->update({.averages = averages, .average_share = 0.1}));
  const std::vector<at::Tensor> turned{random_tensor({2, 4}, 1).t()};
  EXPECT_ERROR_WITH("the average of parameter 0 is [4, 2] Float with strides [1, 4], the parameter [4, 2]",
                    optimizer->update({.averages = turned, .average_share = 0.1}));
}

// With rounded lines, second - third² may fall below zero.
TEST(FusedOptimizer, CenteredRmspropStaysFiniteWithRoundedMoments) {
  OptimizerOptions options = options_of("rmsprop");
  options.centered = true;
  options.state_dtype = "bfloat16";
  options.stochastic_rounding = true;
  const std::vector<at::Tensor> tensors{random_tensor({200}, 1)};
  const auto optimizer = fused(tensors, options);
  for (int step = 0; step < 200; ++step) {
    at::Tensor(tensors[0]).mutable_grad() = at::zeros({200}).fill_(0.7);
    optimizer->step();
  }
  EXPECT_TRUE(tensors[0].isfinite().all().item<bool>());
}

}  // namespace
}  // namespace gradwise
