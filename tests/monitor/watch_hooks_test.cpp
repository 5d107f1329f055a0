// A watch beside hooks that were there before, and what its own know of how gradients came about.
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <cmath>
#include <memory>

#include "gradwise/monitor/watch.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

struct CountingHook : torch::autograd::PostAccumulateGradHook {
  explicit CountingHook(int& counter) : count(counter) {}
  void operator()(const torch::autograd::Variable&) override { ++count; }
  int& count;
};

TEST(WatchHooks, RunBesideHooksThatWereThere) {
  const Model model = toy_model();
  int calls = 0;
  torch::autograd::impl::set_post_acc_grad_hooks(model.parameters.tensors[0], std::make_unique<CountingHook>(calls));
  {
    Watch watch(model.parameters);
    Watch second(model.parameters);
    backward(model, toy_batch(8));
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(watch.step()[0].grad_norm, second.step()[0].grad_norm);
    watch.detach();  // below the second one
    backward(model, toy_batch(8));
    EXPECT_EQ(calls, 2);
    EXPECT_TRUE(watch.step()[0].missing);
    EXPECT_FALSE(second.step()[0].missing);
  }
  backward(model, toy_batch(8));
  EXPECT_EQ(calls, 3);
  torch::autograd::impl::set_post_acc_grad_hooks(model.parameters.tensors[0], nullptr);
}

struct ReplacingHook : torch::autograd::PostAccumulateGradHook {
  void operator()(const torch::autograd::Variable& parameter) override {
    parameter.mutable_grad() = parameter.grad().clone();
  }
};

TEST(WatchHooks, KnowGradientsThatWereAddedToNothing) {
  const Model model = toy_model();
  Watch watch(model.parameters);
  const auto fresh = [&] {
    backward(model, toy_batch(8));
    return watch.step()[0].grad_fresh;
  };
  EXPECT_TRUE(fresh());
  EXPECT_FALSE(fresh()) << "never cleared";
  model.parameters.tensors[0].mutable_grad().zero_();
  EXPECT_FALSE(fresh()) << "cleared in place, which can't be told apart";
  model.parameters.tensors[0].mutable_grad().reset();
  EXPECT_TRUE(fresh());
  watch.expect_backwards(2);
  model.parameters.tensors[0].mutable_grad().reset();
  backward(model, toy_batch(8));
  EXPECT_TRUE(fresh()) << "of two passes, the first counts";
}

// Sums that are no change in place.
TEST(WatchHooks, AreNotMisledByGraphsOfBackwardAndHooks) {
  const Model model = toy_model();
  const Batch batch = toy_batch(8);
  Watch watch(model.parameters);
  const auto pass_with_graph = [&] {
    squared_error(model.forward(batch), batch.target).backward({}, true, true);
    return watch.step()[0].grad_fresh;
  };
  (void)pass_with_graph();
  EXPECT_FALSE(pass_with_graph());
  watch.detach();
  const at::Tensor weight = model.parameters.tensors[0];
  for (const at::Tensor& parameter : model.parameters.tensors) {
    parameter.mutable_grad().reset();
  }
  torch::autograd::impl::set_post_acc_grad_hooks(weight, std::make_unique<ReplacingHook>());
  {
    Watch behind(model.parameters);
    backward(model, batch);
    EXPECT_TRUE(behind.step()[0].grad_fresh);
    backward(model, batch);
    EXPECT_FALSE(behind.step()[0].grad_fresh) << "another tensor, but of sums";
  }
  torch::autograd::impl::set_post_acc_grad_hooks(weight, nullptr);
}

struct TakingHook : torch::autograd::PostAccumulateGradHook {
  void operator()(const torch::autograd::Variable& parameter) override { parameter.mutable_grad().reset(); }
};

TEST(WatchHooks, ReadWhatAHookTakesAway) {
  const Model model = toy_model();
  const at::Tensor weight = model.parameters.tensors[0];
  backward(model, toy_batch(8));
  const double expected = weight.grad().norm().item<double>();
  weight.mutable_grad().reset();
  torch::autograd::impl::set_post_acc_grad_hooks(weight, std::make_unique<TakingHook>());
  Watch watch(model.parameters);
  backward(model, toy_batch(8));
  EXPECT_FALSE(weight.grad().defined());
  EXPECT_NEAR(watch.step()[0].grad_norm, expected, 1e-5 * expected);
  watch.expect_backwards(2);  // of which the second never comes
  backward(model, toy_batch(8));
  EXPECT_TRUE(std::isnan(watch.step()[0].grad_norm)) << "nobody could read it";
  EXPECT_FALSE(watch.readings()[0].missing);
  watch.detach();
  torch::autograd::impl::set_post_acc_grad_hooks(weight, nullptr);
}

}  // namespace
}  // namespace gradwise
