// Plans measured on real stages: the gradients of the plain chain, and the memory that was foretold.
#include "gradwise/autograd/checkpoint/plan_checkpoints.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

// Stages of widths that differ by a factor of eight, some with dropout.
struct Uneven {
  std::vector<StageFunction> stages;
  std::vector<at::Tensor> weights;
  at::Tensor input = at::randn({512, 32});

  Uneven() {
    std::int64_t width = 32;
    for (const std::int64_t next : {64, 256, 256, 64, 32, 128, 256, 32, 64, 64, 256, 32}) {
      const at::Tensor w = at::randn({next, width}).mul(0.1).requires_grad_();
      weights.push_back(w);
      stages.emplace_back([w, next](const at::Tensor& x) {
        const at::Tensor y = at::linear(x, w).tanh().sin();
        return next == 64 ? at::dropout(y, 0.3, true) : y;
      });
      width = next;
    }
  }

  // Gradients of the weights, and the peak of the step with them in place.
  std::pair<std::vector<at::Tensor>, std::int64_t> step(const std::function<at::Tensor(const at::Tensor&)>& forward) {
    for (const at::Tensor& w : weights) {
      w.mutable_grad() = at::zeros_like(w);
    }
    seed_everything(21);
    const PeakMemory memory;
    const at::Tensor y = forward(input);
    y.backward(at::ones_like(y));
    std::vector<at::Tensor> found;
    const std::int64_t peak = memory.peak();
    for (const at::Tensor& w : weights) {
      found.push_back(w.grad().clone());
    }
    return {found, peak};
  }

  at::Tensor plain(const at::Tensor& x) const {
    at::Tensor y = x;
    for (const StageFunction& stage : stages) {
      y = stage(y);
    }
    return y;
  }
};

TEST(PlanCheckpoints, KeepsGradientsToTheBitAndMemoryWithinTheBudget) {
  seed_everything(20);
  Uneven chain;
  const auto [expected, plain_peak] = chain.step([&](const at::Tensor& x) { return chain.plain(x); });
  const CheckpointPlan whole = plan_checkpoints(chain.stages, chain.input, 1LL << 30, {.repeats = 1});
  EXPECT_NEAR(static_cast<double>(whole.chain.peak_bytes), static_cast<double>(plain_peak),
              0.05 * static_cast<double>(plain_peak));
  for (const double share : {0.75, 0.6}) {
    const auto budget = static_cast<std::int64_t>(share * static_cast<double>(plain_peak));
    const CheckpointPlan plan = plan_checkpoints(chain.stages, chain.input, budget, {.repeats = 1});
    EXPECT_GT(plan.chain.seconds, plan.chain.least_seconds);
    const auto [found, peak] =
        chain.step([&](const at::Tensor& x) { return checkpoint_planned(chain.stages, plan, x); });
    EXPECT_LE(peak, budget) << share;
    EXPECT_NEAR(static_cast<double>(plan.chain.peak_bytes), static_cast<double>(peak), 0.05 * static_cast<double>(peak))
        << share;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(found[i].equal(expected[i])) << share << ' ' << i;
    }
  }
}

TEST(PlanCheckpoints, LeavesGradientsAndRandomStateAsTheyWere) {
  seed_everything(20);
  Uneven chain;
  const at::Tensor gradient = at::randn_like(chain.weights[0]);
  chain.weights[0].mutable_grad() = gradient;
  seed_everything(1);
  const at::Tensor expected = at::randn({3});
  seed_everything(1);
  (void)plan_checkpoints(chain.stages, chain.input, 1LL << 30, {.repeats = 1});
  EXPECT_TRUE(at::randn({3}).equal(expected));
  EXPECT_TRUE(chain.weights[0].grad().is_same(gradient));
  EXPECT_FALSE(chain.weights[1].grad().defined());
}

TEST(PlanCheckpoints, LeavesBuffersAsTheyWereWhereItThrowsToo) {
  seed_everything(20);
  Uneven chain;
  const at::Tensor mean = at::zeros({32});
  chain.stages.insert(chain.stages.begin(), [mean](const at::Tensor& x) {
    const at::NoGradGuard no_grad;
    mean.mul_(0.9).add_(x.mean(0), 0.1);
    return x.sub(mean);
  });
  PlanOptions options{.repeats = 1};
  options.buffers.add("mean", mean);
  (void)plan_checkpoints(chain.stages, chain.input, 1LL << 30, options);
  EXPECT_TRUE(mean.equal(at::zeros({32})));
  EXPECT_ERROR_WITH("no schedule fits into 1000 bytes", plan_checkpoints(chain.stages, chain.input, 1000, options));
  EXPECT_TRUE(mean.equal(at::zeros({32})));
  (void)plan_checkpoints(chain.stages, chain.input, 1LL << 30, {.repeats = 1});
  EXPECT_FALSE(mean.equal(at::zeros({32})));
}

TEST(PlanCheckpoints, SayTheLeastBudgetAndWhichPlanDoesNotFit) {
  seed_everything(20);
  Uneven chain;
  EXPECT_ERROR_WITH("no schedule fits into 1000 bytes, allowed: about ",
                    plan_checkpoints(chain.stages, chain.input, 1000, {.repeats = 1}));
  const CheckpointPlan plan = plan_checkpoints(chain.stages, chain.input, 1LL << 30, {.repeats = 1});
  chain.stages.pop_back();
  EXPECT_ERROR_WITH("the plan is for 12 stages, there are 11", checkpoint_planned(chain.stages, plan, chain.input));
  EXPECT_ERROR_WITH("the chain has no stage", plan_checkpoints({}, chain.input, 1000));
}

}  // namespace
}  // namespace gradwise
