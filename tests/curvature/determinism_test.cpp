// What matrices over data sets refuse, for there is no one matrix of it: passes that differ, samples that are joined,
// and losses that do not go over samples.
#include "gradwise/curvature/determinism.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/instance_norm.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/empirical_fisher.h"
#include "gradwise/curvature/fisher.h"
#include "gradwise/curvature/gauss_newton.h"
#include "gradwise/curvature/hessian.h"
#include "tests/curvature/small_net.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

class Determinism : public testing::Test {
 protected:
  void SetUp() override { seed_everything(12); }
};

TEST_F(Determinism, RefusesWhatIsStochastic) {
  const SmallNet net;
  Model model = net.model();
  model.forward = [net](const Batch& batch) {
    return at::dropout(SmallNet::outputs({net.first, net.bias, net.second}, batch.input), 0.5, /*train=*/true);
  };
  const auto batches = net.cut(net.classes, {6, 5});
  EXPECT_ERROR_WITH("[hessian] the loss is not deterministic: two passes over the same mini-batch give",
                    Hessian(model, kClassLoss, batches));
  EXPECT_ERROR_WITH("model.eval()", Hessian(model, kClassLoss, batches));
  EXPECT_ERROR_WITH("[fisher] the derivatives are not deterministic", Fisher(model, "cross_entropy", batches));
  EXPECT_ERROR_WITH("[hessian] the loss is not deterministic", Hessian(model, kClassLoss, net.x, net.classes));
  EXPECT_ERROR_WITH("[fisher] the model is not deterministic",
                    Fisher(model, "cross_entropy", net.cut(net.classes, {11})));
  const LossFunction noisy = [](const at::Tensor& o, const at::Tensor& t) {
    return at::cross_entropy_loss(at::dropout(o, 0.5, /*train=*/true), t);
  };
  EXPECT_ERROR_WITH("[gauss_newton] the loss is not deterministic",
                    GaussNewton(net.model(), noisy, net.x, net.classes));
  // Taken as it falls, it is one matrix all the same, whatever is kept.
  const double untouched = [] {
    const RandomStateGuard random(at::kCPU);
    return at::randn({1}).item<double>();
  }();
  const Hessian kept(model, kClassLoss, batches, {.check_deterministic = false});
  const Hessian rebuilt(model, kClassLoss, batches, {.memory_bound = 1, .check_deterministic = false});
  EXPECT_TRUE(matrix_of(kept).equal(matrix_of(rebuilt)));
  EXPECT_EQ(at::randn({1}).item<double>(), untouched);
}

TEST_F(Determinism, LooksTwiceAtTheFirstMiniBatch) {
  const SmallNet net;
  std::int64_t passes = 0;
  const Model model = net.model_that_counts(passes);
  const Hessian over_three(model, kClassLoss, net.cut(net.classes, {4, 4, 3}));
  EXPECT_EQ(passes, 4);
  passes = 0;
  const EmpiricalFisher of_one(model, kClassLoss, net.cut(net.classes, {11}));
  EXPECT_EQ(passes, 2);
}

at::Tensor log_of_mean(const at::Tensor& o, const at::Tensor& t) { return at::cross_entropy_loss(o, t).log(); }
at::Tensor by_batch_size(const at::Tensor& o, const at::Tensor& t) {
  return at::cross_entropy_loss(o, t).mul(std::sqrt(static_cast<double>(o.size(0))));
}
at::Tensor weighted_by_class(const at::Tensor& o, const at::Tensor& t) {
  return at::cross_entropy_loss(o, t, at::linspace(1, 3, 3, o.options()));
}

TEST_F(Determinism, RefusesLossesThatAreNoSumsOverSamples) {
  SmallNet net;
  net.classes = at::arange(11, at::kLong).floor_divide(2).remainder(3);
  const auto batches = net.cut(net.classes, {6, 5});
  for (const LossFunction& loss :
       {LossFunction(log_of_mean), LossFunction(by_batch_size), LossFunction(weighted_by_class)}) {
    EXPECT_ERROR_WITH("[hessian] the loss is no mean over samples", Hessian(net.model(), loss, batches));
    EXPECT_ERROR_WITH("check_deterministic to false", GaussNewton(net.model(), loss, batches));
    EXPECT_ERROR_WITH("[empirical_fisher] the loss is no sum over samples",
                      EmpiricalFisher(net.model(), loss, net.cut(net.classes, {11}), {.reduction = "sum"}));
    EXPECT_NO_THROW(Hessian(net.model(), loss, net.x, net.classes));  // nothing is added up
    EXPECT_NO_THROW(Hessian(net.model(), loss, batches, {.check_deterministic = false}));
  }
  const LossFunction sum = [](const at::Tensor& o, const at::Tensor& t) {
    return at::cross_entropy_loss(o, t, {}, /*reduction=*/2);
  };
  EXPECT_ERROR_WITH("set reduction to sum", Hessian(net.model(), sum, batches));
  EXPECT_ERROR_WITH("set reduction to mean", Hessian(net.model(), kClassLoss, batches, {.reduction = "sum"}));
}

// In float32 rounding is larger, and a half of many samples is much like the other.
TEST_F(Determinism, TellsASumOverSamplesFromOthersInManySamples) {
  const at::Tensor x = at::randn({4000, 3});
  const at::Tensor classes = at::randint(3, {4000}, at::kLong);
  const at::Tensor w = at::randn({3, 3}).requires_grad_();
  Model model;
  model.parameters.add("w", w);
  model.forward = [w](const Batch& batch) { return batch.input.matmul(w); };
  const std::vector<Batch> batches{{x, classes, {}}, {x, classes, {}}};
  EXPECT_NO_THROW(Hessian(model, kClassLoss, batches));
  EXPECT_ERROR_WITH("no mean over samples", Hessian(model, log_of_mean, batches));
}

// Outputs with a row for each position of a sample, and a model whose output is the loss.
TEST_F(Determinism, CutsOutputsWhoseRowsAreNotSamples) {
  const at::Tensor x = at::randn({6, 5, 3}, at::kDouble);
  const at::Tensor classes = at::randint(3, {6, 5}, at::kLong);
  const at::Tensor w = at::randn({3, 3}, at::kDouble).requires_grad_();
  Model rows;
  rows.parameters.add("w", w);
  rows.forward = [w](const Batch& batch) { return batch.input.flatten(0, 1).matmul(w); };
  const std::vector<Batch> batches{{x, classes, {}}, {x, classes, {}}};
  const LossFunction flat = [](const at::Tensor& o, const at::Tensor& t) {
    return at::cross_entropy_loss(o, t.flatten());
  };
  EXPECT_NO_THROW(Hessian(rows, flat, batches));
  const LossFunction flat_log = [flat](const at::Tensor& o, const at::Tensor& t) { return flat(o, t).log(); };
  EXPECT_ERROR_WITH("no mean over samples", Hessian(rows, flat_log, batches));
  Model whole = rows;
  whole.forward = [forward = rows.forward, flat](const Batch& batch) { return flat(forward(batch), batch.target); };
  EXPECT_NO_THROW(Hessian(whole, [](const at::Tensor& o, const at::Tensor&) { return o; }, batches));
  EXPECT_ERROR_WITH("no mean over samples",
                    Hessian(whole, [](const at::Tensor& o, const at::Tensor&) { return o.log(); }, batches));
}

// A norm over (samples, 3 channels, 4 positions), and a mean over the positions.
Model normed(const at::Tensor& w, const at::Tensor& mean, bool by_batch, bool training) {
  Model model;
  model.parameters.add("norm.weight", w);
  model.buffers.add("norm.running_mean", mean);
  model.forward = [=](const Batch& batch) {
    const at::Tensor variance = at::ones({3}, at::kDouble);
    return (by_batch ? at::batch_norm(batch.input, w, {}, mean, variance, training, 0.1, 1e-5, false)
                     : at::instance_norm(batch.input, w, {}, {}, {}, true, 0.1, 1e-5, false))
        .square()
        .sin()
        .mean(2);
  };
  return model;
}

TEST_F(Determinism, RefusesBatchNormInTrainingModeAlone) {
  const at::Tensor w = at::randn({3}, at::kDouble).requires_grad_();
  const at::Tensor mean = at::zeros({3}, at::kDouble);
  const at::Tensor x = at::randn({8, 3, 4}, at::kDouble);
  const std::vector<Batch> batches{{x, at::randint(3, {8}, at::kLong), {}}};
  EXPECT_ERROR_WITH(
      "[gauss_newton] a sample's output depends on the mini-batch that it is in, by batch norm in training "
      "mode (norm)",
      GaussNewton(normed(w, mean, true, true), kClassLoss, batches));
  EXPECT_EQ(mean.abs().max().item<double>(), 0);
  EXPECT_NO_THROW(GaussNewton(normed(w, mean, true, true), kClassLoss, batches, {.check_deterministic = false}));
  EXPECT_NO_THROW(GaussNewton(normed(w, mean, true, false), kClassLoss, batches));
  EXPECT_NO_THROW(GaussNewton(normed(w, mean, false, true), kClassLoss, batches));
  EXPECT_EQ(mean.abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace gradwise
