// The one-pass optimizer over tensors of every kind. Its formulas are compared with PyTorch's in test_parity.py.
#include "gradwise/optim/fused_optimizer.h"

#include <ATen/Parallel.h>
#include <ATen/ops/sparse_coo_tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "gradwise/core/error.h"
#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/optim/ema.h"
#include "gradwise/optim/torch_optimizers.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

NamedParameters named(const std::vector<at::Tensor>& tensors) {
  NamedParameters parameters;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    at::Tensor(tensors[i]).requires_grad_();
    parameters.add("p" + std::to_string(i), tensors[i]);
  }
  return parameters;
}

std::unique_ptr<FusedOptimizer> fused(const std::vector<at::Tensor>& tensors, const OptimizerOptions& options = {}) {
  auto made = make_optimizer(options, named(tensors));
  return std::unique_ptr<FusedOptimizer>(dynamic_cast<FusedOptimizer*>(made.release()));
}

void give_gradients(const std::vector<at::Tensor>& tensors, unsigned int seed) {
  for (const at::Tensor& tensor : tensors) {
    at::Tensor(tensor).mutable_grad() = random_tensor(tensor.sizes(), seed++, tensor.scalar_type());
  }
}

void take_steps(FusedOptimizer& optimizer, const std::vector<at::Tensor>& tensors, int steps, unsigned int seed = 50) {
  for (int i = 0; i < steps; ++i) {
    give_gradients(tensors, seed + static_cast<unsigned int>(100 * i));
    optimizer.step();
  }
}

void expect_near(const at::Tensor& a, const at::Tensor& b, double tolerance) {
  EXPECT_TRUE(a.detach().to(at::kDouble).allclose(b.detach().to(at::kDouble), tolerance, tolerance))
      << "largest difference " << a.detach().sub(b.detach()).abs().max().item<double>();
}

const std::vector<std::string>& names() {
  static const std::vector<std::string> all{"adamw", "adam", "sgd", "rmsprop", "adagrad", "lion"};
  return all;
}

OptimizerOptions options_of(const std::string& name) {
  OptimizerOptions options;
  options.name = name;
  options.lr = 0.01;
  options.momentum = name == "sgd" || name == "rmsprop" ? 0.9 : 0;
  return options;
}

class FusedRule : public testing::TestWithParam<std::string> {};

// Dense layouts, a slice that leaves gaps, a view off its storage's start, one element, none.
TEST_P(FusedRule, TakesEveryLayout) {
  const auto layouts = [](const at::Tensor& x) {
    const at::Tensor wide = at::zeros({6, 14});
    wide.slice(1, 3, 10).copy_(x);
    const at::Tensor shifted = at::zeros({43});
    shifted.slice(0, 1).copy_(x.reshape({-1}));
    return std::vector<at::Tensor>{x.clone(), x.t().contiguous().t(), wide.slice(1, 3, 10),
                                   shifted.slice(0, 1).view({6, 7})};
  };
  const std::vector<at::Tensor> same = layouts(random_tensor({6, 7}, 1));
  std::vector<at::Tensor> all = same;
  all.push_back(random_tensor({}, 2));
  all.push_back(at::zeros({0, 4}));
  const auto optimizer = fused(all, options_of(GetParam()));
  for (unsigned int step = 0; step < 5; ++step) {
    give_gradients(all, 20 + step);
    for (const at::Tensor& tensor : same) {
      at::Tensor(tensor).mutable_grad() = random_tensor({6, 7}, 10 + step);
    }
    optimizer->step();
  }
  for (const at::Tensor& tensor : same) {
    expect_near(tensor, same.front(), 1e-6);
  }
  EXPECT_FALSE(all[4].equal(random_tensor({}, 2)));
}

TEST_P(FusedRule, HasTheSameBitsWithAnyNumberOfThreads) {
  const auto train = [](int threads) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    std::vector<at::Tensor> tensors;
    for (unsigned int i = 0; i < 40; ++i) {
      tensors.push_back(random_tensor({i % 3 == 0 ? 30000 : 700 + static_cast<std::int64_t>(i)}, i));
    }
    const auto optimizer = fused(tensors, options_of(GetParam()));
    take_steps(*optimizer, tensors, 3);
    at::set_num_threads(before);
    double sum = 0;
    for (const WeightMoments& moments : optimizer->weight_moments()) {
      sum += moments.update_squares + moments.sum;
    }
    return std::pair(tensors, sum);
  };
  const auto [one, sum_of_one] = train(1);
  const auto [two, sum_of_two] = train(2);
  for (std::size_t i = 0; i < one.size(); ++i) {
    ASSERT_TRUE(one[i].equal(two[i])) << i;
  }
  EXPECT_EQ(sum_of_one, sum_of_two);
}

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

TEST_P(FusedRule, MovesTheAverageAndMeasuresAsSeparatePassesDo) {
  const std::vector<at::Tensor> tensors{random_tensor({50, 40}, 1), random_tensor({3}, 2)};
  const auto optimizer = fused(tensors, options_of(GetParam()));
  const std::vector<at::Tensor> averages = copies_of(tensors);
  give_gradients(tensors, 7);
  const std::vector<at::Tensor> before = copies_of(tensors);
  optimizer->update({.grad_scale = 0.5, .averages = averages, .average_share = 0.1});
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor now = tensors[i].detach().to(at::kDouble);
    const at::Tensor old = before[i].to(at::kDouble);
    expect_near(averages[i], old.lerp(now, 0.1), 1e-6);
    const WeightMoments& moments = optimizer->weight_moments()[i];
    EXPECT_EQ(moments.count, now.numel());
    EXPECT_NEAR(moments.sum, now.sum().item<double>(), 1e-4);
    EXPECT_NEAR(moments.sum_squares, now.square().sum().item<double>(), 1e-3);
    EXPECT_NEAR(moments.max_abs, now.abs().max().item<double>(), 1e-7);
    const double update = now.sub(old).square().sum().item<double>();
    EXPECT_NEAR(moments.update_squares, update, 1e-4 * update);
    EXPECT_NEAR(moments.squares_before, old.square().sum().item<double>(), 1e-3);
  }
}

TEST_P(FusedRule, WithMomentsOfSixteenBitsStaysNearTheOneWithThirtyTwo) {
  OptimizerOptions narrow = options_of(GetParam());
  narrow.state_dtype = "bfloat16";
  narrow.stochastic_rounding = true;
  const std::vector<at::Tensor> a{random_tensor({100, 30}, 1)};
  const std::vector<at::Tensor> b = copies_of(a);
  const std::vector<at::Tensor> start = copies_of(a);
  take_steps(*fused(a, narrow), a, 20);
  take_steps(*fused(b, options_of(GetParam())), b, 20);
  const double apart = a[0].detach().sub(b[0].detach()).norm().item<double>();
  const double moved = b[0].detach().sub(start[0]).norm().item<double>();
  // A sign that tips over moves Lion by two whole steps.
  EXPECT_LT(apart, (GetParam() == "lion" ? 0.1 : 0.02) * moved);
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

// The same training, its gradients read during backward or not, averaged along or apart.
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
