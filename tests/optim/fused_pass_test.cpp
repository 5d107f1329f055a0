// The one pass over tensors of every layout, with any number of threads, and what rides along.
#include <ATen/Parallel.h>
#include <ATen/ops/_lazy_clone.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "tests/optim/fused_cases.h"

namespace gradwise {
namespace {

class FusedPass : public testing::TestWithParam<std::string> {};

// Dense layouts, a slice that leaves gaps, a view off its storage's start, one element, none.
TEST_P(FusedPass, TakesEveryLayout) {
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

TEST_P(FusedPass, HasTheSameBitsWithAnyNumberOfThreads) {
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

TEST_P(FusedPass, MovesTheAverageAndMeasuresAsSeparatePassesDo) {
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

TEST_P(FusedPass, WithMomentsOfSixteenBitsStaysNearTheOneWithThirtyTwo) {
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

// Copies that are made when one of two writes: the update is one that writes, whichever thread it is on.
TEST_P(FusedPass, LeavesLazyCopiesAsTheyWere) {
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  std::vector<at::Tensor> tensors;
  for (unsigned int i = 0; i < 300; ++i) {
    tensors.push_back(random_tensor({i % 100 == 0 ? 70000 : 9}, i));
  }
  const std::vector<at::Tensor> averages = copies_of(tensors);
  const auto optimizer = fused(tensors, options_of(GetParam()));
  for (int step = 0; step < 2; ++step) {  // the first makes the states
    give_gradients(tensors, 400);
    std::vector<at::Tensor> lazy;
    std::vector<at::Tensor> real;
    for (const std::vector<at::Tensor>& list : {tensors, averages}) {
      for (const at::Tensor& tensor : list) {
        real.push_back(tensor.detach().clone());
        lazy.push_back(at::_lazy_clone(tensor.detach()));
      }
    }
    optimizer->update({.averages = averages, .average_share = 0.5});
    for (std::size_t i = 0; i < lazy.size(); ++i) {
      ASSERT_TRUE(lazy[i].equal(real[i])) << i;
      ASSERT_FALSE((i < tensors.size() ? tensors[i] : averages[i - tensors.size()]).equal(real[i])) << i;
    }
  }
  at::set_num_threads(threads);
}

INSTANTIATE_TEST_SUITE_P(FusedOptimizer, FusedPass, testing::ValuesIn(names()));

// A graph that has saved the weights must notice that they have changed, and only then.
TEST(FusedPassVersion, GoesUpWithAStepThatMoved) {
  const std::vector<at::Tensor> tensors{random_tensor({40000}, 1), random_tensor({3}, 2)};
  const auto optimizer = fused(tensors);
  give_gradients(tensors, 3);
  const std::int64_t before = tensors[0]._version();
  optimizer->step();
  EXPECT_EQ(tensors[0]._version(), before + 1);
  at::Tensor(tensors[1]).mutable_grad() = random_tensor({4}, 1);
  EXPECT_ANY_THROW(optimizer->step());
  EXPECT_EQ(tensors[0]._version(), before + 1);
}

}  // namespace
}  // namespace gradwise
