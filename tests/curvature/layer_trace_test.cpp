// Traces from random vectors over the layers' outputs, against full Hessians and closed forms.
#include "gradwise/curvature/layer_trace.h"

#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "gradwise/core/random_state.h"
#include "tests/curvature/small_net.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

class LayerTrace : public testing::Test {
 protected:
  void SetUp() override { seed_everything(21); }
};

// Of 1000 figures the mean is within five standard errors of the trace, and a figure varies less than Hutchinson's, by
// the factor `most`.
void expect_trace(const Hessian& matrix, const std::string& what, double most = 0.75) {
  const double exact = matrix_of(matrix).trace().item<double>();
  const Estimate found = layer_trace(matrix, {.products = 1000});
  EXPECT_GT(std::abs(exact), 1e-3) << what;
  EXPECT_NEAR(found.value, exact, 5 * found.standard_error + 1e-12) << what;
  EXPECT_LT(found.standard_error, most * hutchinson_trace(matrix, {.products = 1000}).standard_error) << what;
}

TEST_F(LayerTrace, IsThatOfTheFullHessian) {
  const SmallNet net;
  const LossFunction sum = [](const at::Tensor& o, const at::Tensor& t) {
    return at::cross_entropy_loss(o, t, {}, /*reduction=*/2);
  };
  expect_trace(Hessian(net.model(), kClassLoss, net.x, net.classes), "one batch");
  expect_trace(Hessian(net.model(), kSquaredLoss, net.x, net.y), "squared");
  expect_trace(Hessian(net.model(), kClassLoss, net.cut(net.classes, {4, 4, 3})), "three batches");
  expect_trace(Hessian(net.model(), sum, net.cut(net.classes, {6, 5}), {.reduction = "sum"}), "sum");
  expect_trace(Hessian(net.model(), kClassLoss, net.cut(net.classes, {6, 5}), {.parameters = {"hidden.*"}}), "chosen",
               /*most=*/0.95);
}

TEST_F(LayerTrace, TakesNormsAndBiasesOfOneOperatorWithItsWeight) {
  SmallNet net;
  const at::Tensor scale = at::randn({4}, at::kDouble).requires_grad_();
  const at::Tensor shift = at::randn({4}, at::kDouble).requires_grad_();
  Model model = net.model();
  model.parameters.add("norm.weight", scale);
  model.parameters.add("norm.bias", shift);
  model.forward = [net, scale, shift](const Batch& batch) {
    const at::Tensor hidden = at::linear(batch.input, net.first, net.bias);
    return at::linear(at::layer_norm(hidden, {4}, scale, shift).tanh(), net.second);
  };
  expect_trace(Hessian(model, kClassLoss, net.x, net.classes), "layer norm");
}

// Of one output the squared error's Hessian is X'X 2/N: every figure is its trace.
TEST_F(LayerTrace, HasNoVarianceWhereAnOutputHasOneUnit) {
  const at::Tensor x = at::randn({9, 4}, at::kDouble);
  const at::Tensor w = at::randn({1, 4}, at::kDouble).requires_grad_();
  Model model;
  model.parameters.add("w", w);
  model.forward = [w](const Batch& batch) { return at::linear(batch.input, w); };
  const Estimate found = layer_trace(Hessian(model, kSquaredLoss, x, at::randn({9, 1}, at::kDouble)), {.products = 5});
  EXPECT_NEAR(found.value, x.square().sum().item<double>() * 2 / 9, 1e-12);
  EXPECT_LE(found.standard_error, 1e-12);
  EXPECT_EQ(found.products, 5);
  const LossFunction linear = [](const at::Tensor& o, const at::Tensor& t) { return o.sub(t).mean(); };
  EXPECT_EQ(layer_trace(Hessian(model, linear, x, at::zeros({9, 1}, at::kDouble))).value, 0);
}

TEST_F(LayerTrace, IsTheSameForTheSameSeedWhateverIsKept) {
  const SmallNet net;
  const Hessian kept(net.model(), kClassLoss, net.cut(net.classes, {4, 4, 3}));
  const Hessian rebuilt(net.model(), kClassLoss, net.cut(net.classes, {4, 4, 3}), {.memory_bound = 1});
  EXPECT_EQ(layer_trace(kept, {.products = 20}).value, layer_trace(rebuilt, {.products = 20}).value);
  EXPECT_NE(layer_trace(kept, {.products = 20}).value, layer_trace(kept, {.products = 20, .seed = 1}).value);
  const Hessian squared(net.model(), kSquaredLoss, net.x, net.y);
  const Estimate found = layer_trace(squared, {.products = 5000, .tolerance = 0.05});
  EXPECT_TRUE(found.converged);
  EXPECT_LT(found.products, 5000);
}

TEST_F(LayerTrace, HasIntervalsThatHold) {
  const SmallNet net;
  const Hessian matrix(net.model(), kClassLoss, net.x, net.classes);
  const double exact = matrix_of(matrix).trace().item<double>();
  constexpr int kTrials = 200;
  int held = 0;
  for (int seed = 0; seed < kTrials; ++seed) {
    const Interval range = interval(layer_trace(matrix, {.products = 60, .seed = seed}));
    held += range.low <= exact && exact <= range.high ? 1 : 0;
  }
  EXPECT_GE(held, 0.9 * kTrials);  // 0.95, less three standard errors of it and more
}

TEST_F(LayerTrace, RefusesWhatItCannotTake) {
  SmallNet net;
  const auto trace_of = [&net](const std::function<at::Tensor(const at::Tensor& x)>& forward, const LossFunction& loss,
                               const at::Tensor& x, const at::Tensor& y) {
    Model model = net.model();
    model.forward = [forward](const Batch& batch) { return forward(batch.input); };
    return layer_trace(Hessian(model, loss, x, y), {.products = 4});
  };
  const auto outputs = [&net](const at::Tensor& x) { return SmallNet::outputs({net.first, net.bias, net.second}, x); };
  EXPECT_ERROR_WITH("[layer_trace] products is 1, allowed: >= 2",
                    layer_trace(Hessian(net.model(), kClassLoss, net.x, net.classes), {.products = 1}));
  EXPECT_ERROR_WITH("[layer_trace] head.weight is used 3 times",
                    trace_of([&](const at::Tensor& x) { return outputs(x).matmul(net.second).matmul(net.second.t()); },
                             kClassLoss, net.x, net.classes));
  EXPECT_ERROR_WITH("[layer_trace] samples meet in the loss or in the model", trace_of(
                                                                                  [&](const at::Tensor& x) {
                                                                                    const at::Tensor o = outputs(x);
                                                                                    return o.sub(o.mean(0));
                                                                                  },
                                                                                  kClassLoss, net.x, net.classes));
  EXPECT_ERROR_WITH("[layer_trace] a product with the Hessian is not finite",
                    layer_trace(Hessian(net.model(), kSquaredLoss, std::vector<Batch>{{net.x.mul(NAN), net.y, {}}},
                                        {.check_deterministic = false}),
                                {.products = 4}));
  const at::Tensor sequences = at::randn({11, 5, 3}, at::kDouble);
  EXPECT_ERROR_WITH(
      "[layer_trace] hidden.weight goes into an operator that is not one for each sample",
      trace_of([&](const at::Tensor& x) { return outputs(x).mean(1); }, kClassLoss, sequences, net.classes));
}

// Of a few samples a half that is drawn one by one would often be all or none of them.
TEST_F(LayerTrace, SeesThatFewSamplesMeetWhateverTheSeed) {
  SmallNet net;
  Model model = net.model();
  model.forward = [net](const Batch& batch) {
    const at::Tensor o = SmallNet::outputs({net.first, net.bias, net.second}, batch.input);
    return o.sub(o.mean(0));
  };
  for (const std::int64_t samples : {2, 3}) {
    const Hessian matrix(model, kClassLoss, net.x.narrow(0, 0, samples), net.classes.narrow(0, 0, samples));
    for (std::int64_t seed = 0; seed < 20; ++seed) {
      EXPECT_ERROR_WITH("samples meet", layer_trace(matrix, {.products = 2, .seed = seed}));
    }
  }
}

}  // namespace
}  // namespace gradwise
