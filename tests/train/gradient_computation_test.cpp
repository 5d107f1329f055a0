// GradientComputationUtils against closed forms.
#include "gradwise/train/gradient_computation.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/diag_embed.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

using Utils = GradientComputationUtils;

class GradientComputation : public testing::Test {
 protected:
  void SetUp() override {
    seed_everything(2);
    x = at::randn({4}, at::kDouble);
    v = at::randn({4}, at::kDouble);
    weight = at::randn({3, 2}, at::kDouble).requires_grad_();
    bias = at::randn({3}, at::kDouble).requires_grad_();
    parameters.add("weight", weight);
    parameters.add("frozen", at::zeros({2}, at::kDouble));
    parameters.add("bias", bias);
  }

  void set_gradients() {
    weight.mutable_grad() = at::randn({3, 2}, at::kDouble);
    bias.mutable_grad() = at::randn({3}, at::kDouble);
  }

  [[nodiscard]] at::Tensor all_gradients() const { return at::cat({weight.grad().flatten(), bias.grad()}); }

  at::Tensor x, v, weight, bias;
  NamedParameters parameters;
  const TensorFunction cubes = [](const Tensors& in) { return Tensors{in[0].pow(3).sum()}; };
  const TensorFunction sines = [](const Tensors& in) { return Tensors{in[0].sin()}; };
};

bool agrees(const at::Tensor& a, const at::Tensor& b) { return a.sizes() == b.sizes() && a.allclose(b, 1e-10, 1e-12); }

TEST_F(GradientComputation, DerivativesEqualTheClosedForms) {
  const at::Tensor leaf = x.clone().requires_grad_();
  const Tensors first = Utils::gradients({leaf.pow(3).sum()}, {leaf}, {}, {.create_graph = true});
  EXPECT_TRUE(agrees(first[0].detach(), x.pow(2).mul(3)));
  EXPECT_TRUE(agrees(Utils::gradients({first[0].sum()}, {leaf})[0], x.mul(6)));
  EXPECT_TRUE(agrees(Utils::jacobian(sines, {x})[0], at::diag_embed(x.cos())));
  EXPECT_TRUE(agrees(Utils::jacobian(sines, {x}, JacobianMode::forward, 3)[0], at::diag_embed(x.cos())));
  EXPECT_TRUE(agrees(Utils::hessian(cubes, {x}, 2)[0], at::diag_embed(x.mul(6))));
  EXPECT_TRUE(agrees(Utils::vjp(sines, {x}, {v}).gradients[0], x.cos().mul(v)));
  EXPECT_TRUE(agrees(Utils::jvp(sines, {x}, {v}).tangents[0], x.cos().mul(v)));
  EXPECT_TRUE(agrees(Utils::hessian_vector_product(cubes, {x}, {v}).products[0], x.mul(6).mul(v)));
  EXPECT_TRUE(Utils::gradcheck(sines, {leaf}));
  EXPECT_TRUE(Utils::gradgradcheck(sines, {leaf}));
  const at::Tensor points = at::randn({5, 2}, at::kDouble).requires_grad_();
  const at::Tensor slope = at::randn({2}, at::kDouble);
  EXPECT_NEAR(Utils::gradient_penalty(points.matmul(slope), points, 2).item<double>(),
              std::pow(slope.norm().item<double>() - 2, 2), 1e-12);
}

TEST_F(GradientComputation, NormsAreThoseOfOneLongVector) {
  EXPECT_EQ(Utils::gradient_norm(parameters), 0);
  set_gradients();
  const at::Tensor all = all_gradients();
  for (const double p : {1.0, 2.0, 3.5, std::numeric_limits<double>::infinity()}) {
    EXPECT_NEAR(Utils::gradient_norm(parameters, p), all.norm(p).item<double>(), 1e-12) << p;
    const auto layers = Utils::layer_gradient_norms(parameters, p);
    ASSERT_EQ(layers.size(), 2U);
    EXPECT_EQ(layers[1].first, "bias");
    EXPECT_NEAR(layers[1].second, bias.grad().norm(p).item<double>(), 1e-12) << p;
  }
  EXPECT_ERROR_WITH("[gradient_norm] norm_type is 0, allowed: > 0", Utils::gradient_norm(parameters, 0));
}

TEST_F(GradientComputation, ClipsByEveryMethodAndGivesTheNormBefore) {
  set_gradients();
  const at::Tensor before = all_gradients();
  const double norm = before.norm().item<double>();
  EXPECT_NEAR(Utils::clip_gradients(parameters, {.method = "none"}), norm, 1e-12);
  EXPECT_TRUE(all_gradients().equal(before));
  EXPECT_NEAR(Utils::clip_gradients(parameters, {.max_norm = 0.5}), norm, 1e-12);
  EXPECT_TRUE(agrees(all_gradients(), before.mul(0.5 / (norm + 1e-6))));
  Utils::clip_gradients(parameters, {.method = "value", .max_value = 0.05});
  EXPECT_LE(all_gradients().abs().max().item<double>(), 0.05);
  set_gradients();
  const double largest = 0.01 * bias.detach().norm().item<double>();
  Utils::clip_gradients(parameters, {.method = "agc"});
  EXPECT_NEAR(bias.grad().norm().item<double>(), largest, 1e-12);
  EXPECT_ERROR_WITH("max_norm", Utils::clip_gradients(parameters, {.max_norm = -1}));
}

TEST_F(GradientComputation, AccumulatesAMeanInParts) {
  const at::Tensor inputs = at::randn({10, 2}, at::kDouble);
  const at::Tensor targets = at::randn({10, 3}, at::kDouble);
  const auto loss_on = [&](std::int64_t start, std::int64_t length) {
    const at::Tensor output = inputs.narrow(0, start, length).matmul(weight.t()).add(bias);
    return at::mse_loss(output, targets.narrow(0, start, length));
  };
  const Tensors whole = gradients({loss_on(0, 10)}, {weight, bias});
  Utils::accumulate_gradients(loss_on(0, 7), parameters, 0.7);
  Utils::accumulate_gradients(loss_on(7, 3), parameters, 0.3);
  EXPECT_TRUE(agrees(weight.grad(), whole[0]));
  EXPECT_TRUE(agrees(bias.grad(), whole[1]));
  EXPECT_ERROR_WITH("[accumulate_gradients] the loss has 4 elements", Utils::accumulate_gradients(x, parameters));
  EXPECT_ERROR_WITH("the loss has no graph", Utils::accumulate_gradients(x.sum(), parameters));
}

}  // namespace
}  // namespace gradwise
