#include "gradwise/analysis/step_rule.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/optim/adam.h>
#include <torch/optim/sgd.h>

#include <cmath>

#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

// |x| after 2000 steps of torch.optim.SGD down x^2 / 2 from 1.
double distance_after_sgd(double rate, const SgdMomentum& m) {
  at::Tensor x = at::ones({1}, at::kDouble).requires_grad_();
  torch::optim::SGD optimizer(
      {x}, torch::optim::SGDOptions(rate).momentum(m.momentum).dampening(m.dampening).nesterov(m.nesterov));
  for (int step = 0; step < 2000; ++step) {
    x.mutable_grad() = x.detach().clone();
    optimizer.step();
  }
  return std::abs(x.item<double>());
}

TEST(StepRule, SgdSettlesBelowItsThresholdAndGrowsAboveIt) {
  const std::vector<SgdMomentum> cases{{},
                                       {.momentum = 0.5},
                                       {.momentum = 0.9},
                                       {.momentum = 0.9, .dampening = 0.5},
                                       {.momentum = 0.9, .nesterov = true}};
  for (const SgdMomentum& m : cases) {
    const double threshold = sgd_rule(1, m).threshold;
    EXPECT_LT(distance_after_sgd(0.98 * threshold, m), 1e-2) << m.momentum << ' ' << m.dampening << ' ' << m.nesterov;
    EXPECT_GT(distance_after_sgd(1.02 * threshold, m), 1e2) << m.momentum << ' ' << m.dampening << ' ' << m.nesterov;
  }
}

// Adam with its preconditioner held at 1: x -= rate m, m the running mean of the gradients x.
double distance_after_adam(double rate, double beta) {
  double x = 1;
  double mean = 0;
  for (int step = 0; step < 3000; ++step) {
    mean = beta * mean + (1 - beta) * x;
    x -= rate * mean;
  }
  return std::abs(x);
}

TEST(StepRule, AdamSettlesBelowItsThresholdAndGrowsAboveIt) {
  for (const double beta : {0.0, 0.5, 0.9}) {
    const double threshold = adam_rule("adam", 1, {.beta1 = beta}, {{at::ones({1}), 1}}).threshold;
    EXPECT_LT(distance_after_adam(0.98 * threshold, beta), 1e-2) << beta;
    EXPECT_GT(distance_after_adam(1.02 * threshold, beta), 1e2) << beta;
  }
}

// A step of torch.optim.Adam is rate x scale x its first moment.
TEST(StepRule, AdamsScalesAreThoseOfItsSteps) {
  seed_everything(5);
  at::Tensor w = at::randn({3, 2}, at::kDouble).requires_grad_();
  torch::optim::Adam optimizer({w}, torch::optim::AdamOptions(0.01));
  at::Tensor before;
  for (int step = 0; step < 4; ++step) {
    before = w.detach().clone();
    w.mutable_grad() = at::randn({3, 2}, at::kDouble);
    optimizer.step();
  }
  const auto& state = static_cast<torch::optim::AdamParamState&>(*optimizer.state().at(w.unsafeGetTensorImpl()));
  const StepRule rule = adam_rule("adam", 0.01, {}, {{state.exp_avg_sq(), state.step()}});
  const at::Tensor wanted = before.sub(w.detach());
  EXPECT_TRUE(rule.scales.at(0).mul(state.exp_avg()).mul(0.01).allclose(wanted, 1e-9, 1e-14));
}

TEST(StepRule, IsNotKnownBeforeAdamsFirstStep) {
  const StepRule fresh = adam_rule("adamw", 0.1, {}, {{at::Tensor(), 0}, {at::Tensor(), 0}});
  EXPECT_NE(fresh.unknown.find("no step yet"), std::string::npos);
  EXPECT_TRUE(fresh.scales.empty());
  const StepRule partly = adam_rule("adamw", 0.1, {}, {{at::ones({2}), 1}, {at::Tensor(), 0}});
  EXPECT_TRUE(partly.unknown.empty());
  EXPECT_EQ(partly.scales.at(1).item<double>(), 0) << "what has not moved counts for nothing";
}

TEST(StepRule, TheLargestRateIsTheRules) {
  const StepRule rule = with_rates(sgd_rule(1), {0.1, 0.4, 0});
  EXPECT_EQ(rule.learning_rate, 0.4);
  EXPECT_NEAR(rule.scales.at(0).item<double>(), 0.25, 1e-15);
  EXPECT_EQ(rule.scales.at(2).item<double>(), 0);
  EXPECT_TRUE(with_rates(sgd_rule(1), {0.2, 0.2}).scales.empty());
  EXPECT_EQ(with_rates(sgd_rule(1), {0, 0}).learning_rate, 0);
}

TEST(StepRule, RefusesWhatIsNoStep) {
  EXPECT_ERROR_WITH("the learning rate is -1, allowed: >= 0", sgd_rule(-1));
  EXPECT_ERROR_WITH("the learning rate is nan, allowed: >= 0", sgd_rule(NAN));
  EXPECT_ERROR_WITH("momentum is 1, allowed: from 0 to below 1", sgd_rule(1, {.momentum = 1}));
  EXPECT_ERROR_WITH("beta1 is 1, allowed: from 0 to below 1", adam_rule("adam", 1, {.beta1 = 1}, {}));
  EXPECT_ERROR_WITH("beta2 is 1, allowed: from 0 to below 1", adam_rule("adam", 1, {.beta2 = 1}, {}));
  EXPECT_ERROR_WITH("dampening is 1, allowed: < 1", sgd_rule(1, {.momentum = 0.9, .dampening = 1}));
  EXPECT_ERROR_WITH("there is no learning rate", with_rates(sgd_rule(1), {}));
}

}  // namespace
}  // namespace gradwise
