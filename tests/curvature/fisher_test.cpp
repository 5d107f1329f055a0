// Fisher matrices against outer products of per-sample gradients and the Gauss-Newton matrix.
#include "gradwise/curvature/fisher.h"

#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/core/random_state.h"
#include "gradwise/curvature/gauss_newton.h"
#include "gradwise/curvature/gradient_covariance.h"
#include "gradwise/curvature/likelihood.h"
#include "tests/curvature/small_net.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

class Fishers : public testing::Test {
 protected:
  void SetUp() override { seed_everything(13); }

  // Gradients of the samples, one a row, each by a backward pass of its own.
  static at::Tensor gradient_rows(const SmallNet& net, const LossFunction& loss, const at::Tensor& targets) {
    std::vector<at::Tensor> rows;
    for (std::int64_t n = 0; n < net.x.size(0); ++n) {
      const at::Tensor output = SmallNet::outputs({net.first, net.bias, net.second}, net.x.narrow(0, n, 1));
      rows.push_back(flattened(gradients({loss(output, targets.narrow(0, n, 1))}, {net.first, net.bias, net.second})));
    }
    return at::stack(rows);
  }
};

TEST_F(Fishers, EmpiricalOneIsTheMeanOuterProductOfSampleGradients) {
  const SmallNet net;
  for (const auto& [loss, targets] : {std::pair(kClassLoss, net.classes), std::pair(kSquaredLoss, net.y)}) {
    const at::Tensor rows = gradient_rows(net, loss, targets);
    const auto batches = net.cut(targets, {4, 4, 3});
    const at::Tensor expected = rows.t().matmul(rows).div(11);
    EXPECT_TRUE(matrix_of(EmpiricalFisher(net.model(), loss, batches)).allclose(expected, 1e-10, 1e-12));
    const GradientCovariance covariance(net.model(), loss, batches);
    const at::Tensor centred = rows.sub(rows.mean(0));
    EXPECT_TRUE(matrix_of(covariance).allclose(centred.t().matmul(centred).div(11), 1e-10, 1e-12));
    EXPECT_TRUE(covariance.gradient().allclose(rows.mean(0), 1e-10, 1e-12));
  }
}

TEST_F(Fishers, ExactOneIsTheGaussNewtonMatrixOfItsLoss) {
  const SmallNet net;
  const LossFunction binary = [](const at::Tensor& o, const at::Tensor& t) {
    return at::binary_cross_entropy_with_logits(o, t);
  };
  const at::Tensor bits = at::randint(2, {11, 3}, at::kDouble);
  const auto same = [&net](const std::string& name, const LossFunction& loss, const at::Tensor& targets) {
    const auto batches = net.cut(targets, {4, 4, 3});
    const at::Tensor expected = matrix_of(GaussNewton(net.model(), loss, batches));
    return matrix_of(Fisher(net.model(), name, batches)).allclose(expected, 1e-10, 1e-12);
  };
  EXPECT_TRUE(same("cross_entropy", kClassLoss, net.classes));
  EXPECT_TRUE(same("binary_cross_entropy", binary, bits));
  EXPECT_TRUE(same("mse", kSquaredLoss, net.y));
}

TEST_F(Fishers, DrawnOneTendsToTheExactOne) {
  const SmallNet net;
  for (const char* loss : {"cross_entropy", "binary_cross_entropy", "mse"}) {
    const auto batches = net.cut(net.y, {6, 5});
    const at::Tensor exact = matrix_of(Fisher(net.model(), loss, batches));
    const FisherOptions options{.type = "monte_carlo", .draws = 4000, .seed = 3};
    const at::Tensor found = matrix_of(Fisher(net.model(), loss, batches, options));
    // The relative deviation of a mean over 44,000 draws is about 1 %; five of them.
    EXPECT_LE(found.sub(exact).norm().item<double>(), 0.05 * exact.norm().item<double>()) << loss;
    EXPECT_TRUE(found.equal(matrix_of(Fisher(net.model(), loss, batches, options)))) << loss;
    const at::Tensor other = matrix_of(Fisher(net.model(), loss, batches, {.type = "monte_carlo", .seed = 4}));
    EXPECT_GT(other.sub(found).abs().max().item<double>(), 0) << loss;
  }
}

TEST_F(Fishers, TargetsAreDrawnAsOftenAsTheyAreLikely) {
  const at::Tensor logits = at::randn({1, 3}, at::kDouble);
  const at::Tensor many = logits.expand({20000, 3});
  const at::Tensor p = at::softmax(logits, 1);
  const at::Tensor scores = Likelihood::of_loss("cross_entropy").drawn_scores(many, at::rand({20000, 1}, at::kDouble));
  // p - onehot has the mean 0; a standard deviation of the mean is below 0.5 / sqrt(20000).
  EXPECT_LE(scores.mean(0).abs().max().item<double>(), 5 * 0.5 / std::sqrt(20000.0));
  EXPECT_TRUE(scores.sum(1).abs().max().item<double>() < 1e-12);
}

TEST_F(Fishers, SaysWhatItCannotTake) {
  const SmallNet net;
  const auto batches = net.cut(net.classes, {11});
  EXPECT_ERROR_WITH("[fisher] the loss \"huber\" stands for no distribution", Fisher(net.model(), "huber", batches));
  EXPECT_ERROR_WITH("[fisher] type is \"precise\"", Fisher(net.model(), "mse", batches, {.type = "precise"}));
  EXPECT_ERROR_WITH("[fisher] draws is 0", Fisher(net.model(), "mse", batches, {.draws = 0}));
  Model flat = net.model();
  flat.forward = [forward = flat.forward](const Batch& batch) { return forward(batch).flatten(); };
  const LossFunction sum = [](const at::Tensor& o, const at::Tensor&) { return o.square().sum(); };
  EXPECT_ERROR_WITH("[empirical_fisher] the model's output has the shape [33], allowed: the 11 samples",
                    EmpiricalFisher(flat, sum, batches));
  EXPECT_ERROR_WITH("[fisher] the model's output has the shape [33]", Fisher(flat, "mse", batches));
  Model scalars = net.model();
  scalars.forward = [forward = scalars.forward](const Batch& batch) { return forward(batch).sum(1); };
  EXPECT_ERROR_WITH("allowed for cross_entropy: [samples, classes, ...]", Fisher(scalars, "cross_entropy", batches));
}

}  // namespace
}  // namespace gradwise
