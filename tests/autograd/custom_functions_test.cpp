// Functions and losses with a backward of their own against the composed operators of LibTorch, and by finite
// differences of first and second order.
#include "gradwise/autograd/functions/custom_function.h"

#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/huber_loss.h>
#include <ATen/ops/leaky_relu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pairwise_distance.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/triplet_margin_loss.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "gradwise/autograd/functions/custom_loss.h"
#include "gradwise/autograd/functions/gradcheck.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/operator_log.h"
#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

struct FunctionCase {
  std::string name;
  std::function<at::Tensor(const Tensors&)> ours;
  std::function<at::Tensor(const Tensors&)> composed;
  std::function<Tensors()> inputs;  // float64
};

at::Tensor normal(at::IntArrayRef shape) { return at::randn(shape, at::kDouble); }
at::Tensor classes(std::int64_t n, std::int64_t c) { return at::randint(c, {n}, at::kLong); }

const Activation kSoftplus{[](const at::Tensor& x) { return at::softplus(x); },
                           [](const at::Tensor& x) { return x.sigmoid(); }};

at::Tensor focal_of_classes(const Tensors& in) {
  const at::Tensor log_p = at::log_softmax(in[0], 1).gather(1, in[1].unsqueeze(1)).squeeze(1);
  return log_p.exp().neg().add(1).pow(2).mul(log_p).neg().mean();
}

at::Tensor focal_of_pairs(const Tensors& in) {
  const at::Tensor entropy = at::binary_cross_entropy_with_logits(in[0], in[1], {}, {}, at::Reduction::None);
  const at::Tensor alpha = in[1].mul(0.25).add(in[1].neg().add(1).mul(0.75));
  return entropy.neg().exp().neg().add(1).pow(1.5).mul(entropy).mul(alpha).sum();
}

at::Tensor contrastive(const Tensors& in) {
  const at::Tensor d = in[0].sub(in[1]).norm(2, 1);
  return in[2].mul(d.pow(2)).add(in[2].neg().add(1).mul(d.neg().add(3).clamp_min(0).pow(2))).mul(0.5).mean();
}

const std::vector<FunctionCase>& cases() {
  static const std::vector<FunctionCase> all{
      {"matmul", [](const Tensors& in) { return CustomAutogradFunction::apply(in[0], in[1]); },
       [](const Tensors& in) { return at::matmul(in[0], in[1]); },
       [] { return Tensors{normal({3, 4}), normal({4, 2})}; }},
      {"matmul_batched", [](const Tensors& in) { return CustomAutogradFunction::apply(in[0], in[1]); },
       [](const Tensors& in) { return at::matmul(in[0], in[1]); },
       [] { return Tensors{normal({2, 3, 4}), normal({4, 2})}; }},
      {"matmul_broadcast", [](const Tensors& in) { return CustomAutogradFunction::apply(in[0], in[1]); },
       [](const Tensors& in) { return at::matmul(in[0], in[1]); },
       [] { return Tensors{normal({2, 1, 3, 4}), normal({3, 4, 2})}; }},
      {"matmul_transposed", [](const Tensors& in) { return CustomAutogradFunction::apply(in[0].t(), in[1]); },
       [](const Tensors& in) { return at::matmul(in[0].t(), in[1]); },
       [] { return Tensors{normal({4, 3}), normal({4, 2})}; }},
      {"relu", [](const Tensors& in) { return custom_relu(in[0]); }, [](const Tensors& in) { return at::relu(in[0]); },
       [] { return Tensors{normal({3, 4})}; }},
      {"leaky_relu", [](const Tensors& in) { return custom_leaky_relu(in[0], 0.2); },
       [](const Tensors& in) { return at::leaky_relu(in[0], 0.2); }, [] { return Tensors{normal({2, 3, 2})}; }},
      {"user_activation", [](const Tensors& in) { return custom_activation(in[0], kSoftplus); },
       [](const Tensors& in) { return at::softplus(in[0]); }, [] { return Tensors{normal({3, 4})}; }},
      {"linear", [](const Tensors& in) { return custom_linear(in[0], in[1], in[2]); },
       [](const Tensors& in) { return at::linear(in[0], in[1], in[2]); },
       [] { return Tensors{normal({2, 3, 4}), normal({5, 4}), normal({5})}; }},
      {"linear_without_bias", [](const Tensors& in) { return custom_linear(in[0], in[1]); },
       [](const Tensors& in) { return at::linear(in[0], in[1]); }, [] { return Tensors{normal({4}), normal({5, 4})}; }},
      {"huber", [](const Tensors& in) { return CustomLossFunction::huber({.delta = 0.7})(in); },
       [](const Tensors& in) { return at::huber_loss(in[0], in[1], at::Reduction::Mean, 0.7); },
       [] { return Tensors{normal({3, 4}), normal({3, 4})}; }},
      {"huber_none", [](const Tensors& in) { return CustomLossFunction::huber({.reduction = Reduction::none})(in); },
       [](const Tensors& in) { return at::huber_loss(in[0], in[1], at::Reduction::None, 1.0); },
       [] { return Tensors{normal({3, 4}), normal({3, 4})}; }},
      {"focal", [](const Tensors& in) { return CustomLossFunction::focal()(in); }, focal_of_classes,
       [] { return Tensors{normal({5, 3}), classes(5, 3)}; }},
      {"focal_binary",
       [](const Tensors& in) {
         return CustomLossFunction::focal({.gamma = 1.5, .alpha = 0.25, .reduction = Reduction::sum})(in);
       },
       focal_of_pairs, [] { return Tensors{normal({6}), at::randint(2, {6}, at::kDouble)}; }},
      {"label_smoothing", [](const Tensors& in) { return CustomLossFunction::label_smoothed_cross_entropy()(in); },
       [](const Tensors& in) { return at::cross_entropy_loss(in[0], in[1], {}, at::Reduction::Mean, -100, 0.1); },
       [] { return Tensors{normal({5, 4}), classes(5, 4)}; }},
      {"label_smoothing_ignored",
       [](const Tensors& in) {
         return CustomLossFunction::label_smoothed_cross_entropy({.smoothing = 0.3, .ignore_index = 1})(in);
       },
       [](const Tensors& in) { return at::cross_entropy_loss(in[0], in[1], {}, at::Reduction::Mean, 1, 0.3); },
       [] { return Tensors{normal({2, 3, 4}), at::randint(3, {2, 4}, at::kLong)}; }},
      {"contrastive", [](const Tensors& in) { return CustomLossFunction::contrastive({.margin = 3})(in); }, contrastive,
       [] { return Tensors{normal({5, 3}), normal({5, 3}), at::randint(2, {5}, at::kDouble)}; }},
      {"triplet", [](const Tensors& in) { return CustomLossFunction::triplet({.margin = 2})(in); },
       [](const Tensors& in) { return at::triplet_margin_loss(in[0], in[1], in[2], 2.0); },
       [] { return Tensors{normal({5, 3}), normal({5, 3}), normal({5, 3})}; }},
      {"triplet_cubic", [](const Tensors& in) { return CustomLossFunction::triplet({.margin = 2, .p = 3})(in); },
       [](const Tensors& in) { return at::triplet_margin_loss(in[0], in[1], in[2], 2.0, 3.0); },
       [] { return Tensors{normal({5, 3}), normal({5, 3}), normal({5, 3})}; }},
  };
  return all;
}

class CustomFunction : public testing::TestWithParam<std::size_t> {
 protected:
  void SetUp() override {
    seed_everything(11);
    inputs_ = test_case().inputs();
    const bool labelled = test_case().name.starts_with("focal") || test_case().name.starts_with("label") ||
                          test_case().name.starts_with("contrastive");
    for (std::size_t i = 0; i + (labelled ? 1 : 0) < inputs_.size(); ++i) {
      inputs_[i].requires_grad_();
      wanted_.push_back(inputs_[i]);
    }
  }
  static const FunctionCase& test_case() { return cases()[GetParam()]; }

  Tensors inputs_;
  Tensors wanted_;
};

TEST_P(CustomFunction, EqualsTheComposedOperators) {
  const at::Tensor ours = test_case().ours(inputs_);
  const at::Tensor composed = test_case().composed(inputs_);
  EXPECT_TRUE(ours.allclose(composed, 1e-12, 1e-13)) << ours << composed;
  const at::Tensor weight = at::randn(ours.sizes(), at::kDouble);
  const Tensors a = gradients({ours}, wanted_, {weight}, {.create_graph = true});
  const Tensors b = gradients({composed}, wanted_, {weight}, {.create_graph = true});
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(a[i].allclose(b[i], 1e-10, 1e-12)) << i << a[i] << b[i];
  }
}

TEST_P(CustomFunction, PassesGradcheckOfFirstAndSecondOrder) {
  const TensorFunction function = [](const Tensors& in) { return Tensors{test_case().ours(in)}; };
  EXPECT_TRUE(gradcheck(function, inputs_));
  EXPECT_TRUE(gradgradcheck(function, inputs_));
}

TEST_P(CustomFunction, WorksInEveryFloatingType) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    Tensors inputs;
    for (const at::Tensor& input : inputs_) {
      const at::Tensor own = input.detach();
      inputs.push_back(own.is_floating_point() ? own.to(type).set_requires_grad(input.requires_grad()) : own);
    }
    const at::Tensor result = test_case().ours(inputs);
    EXPECT_EQ(result.scalar_type(), type);
    EXPECT_TRUE(result.to(at::kDouble).allclose(test_case().composed(inputs_), 0.1, 0.1));
    result.sum().backward();
    EXPECT_EQ(inputs[0].grad().scalar_type(), type);
  }
}

INSTANTIATE_TEST_SUITE_P(All, CustomFunction, testing::Range<std::size_t>(0, cases().size()),
                         [](const auto& info) { return cases()[info.param].name; });

// Runs of an operator in a backward pass from `y`; the log tells of operators that give NaN, so gradients are NaN.
std::int64_t runs_in_backward(const char* name, const at::Tensor& y, const Tensors& wanted) {
  const OperatorLog log(NamedParameters{});
  (void)torch::autograd::grad({y}, wanted, {at::full_like(y, NAN)}, /*retain_graph=*/true);
  const std::vector<LoggedOperator> seen = log.operators();
  return std::count_if(seen.begin(), seen.end(), [name](const LoggedOperator& op) { return op.name == name; });
}

std::int64_t products_of_backward(const at::Tensor& y, const Tensors& wanted) {
  return runs_in_backward("aten::mm", y, wanted);
}

TEST(CustomFunctionGradients, OnlyThoseThatAreAskedFor) {
  const at::Tensor weight = normal({4, 2}).requires_grad_();
  const at::Tensor input = normal({3, 4}).requires_grad_();
  for (const at::Tensor& y : {CustomAutogradFunction::apply(input, weight), custom_linear(input, weight.t())}) {
    EXPECT_EQ(products_of_backward(y, {weight}), 1);
    EXPECT_EQ(products_of_backward(y, {input}), 1);
    EXPECT_EQ(products_of_backward(y, {input, weight}), 2);
  }
  EXPECT_EQ(products_of_backward(CustomAutogradFunction::apply(input.detach(), weight), {weight}), 1);
}

TEST(CustomLossGradients, OnlyThoseThatAreAskedFor) {
  const at::Tensor a = normal({3, 4}).requires_grad_();
  const at::Tensor b = normal({3, 4}).requires_grad_();
  const at::Tensor c = normal({3, 4}).requires_grad_();
  const at::Tensor huber = CustomLossFunction::huber({.reduction = Reduction::none})(a, b);
  const auto pairs = CustomLossFunction::contrastive({.reduction = Reduction::none});
  const at::Tensor contrastive = pairs({a, b, at::ones({3}, at::kDouble)});
  for (const at::Tensor& losses : {huber, contrastive}) {
    EXPECT_EQ(runs_in_backward("aten::neg", losses, {a}), 0);
    EXPECT_EQ(runs_in_backward("aten::neg", losses, {b}), 1);
  }
  const at::Tensor triplet = CustomLossFunction::triplet({.margin = 100, .reduction = Reduction::none})({a, b, c});
  EXPECT_EQ(runs_in_backward("aten::mul", triplet, {a}), 2);
  EXPECT_EQ(runs_in_backward("aten::mul", triplet, {b}), 1);
  EXPECT_EQ(runs_in_backward("aten::mul", triplet, {c}), 1);
  EXPECT_EQ(runs_in_backward("aten::mul", triplet, {a, b, c}), 2);
}

TEST(CustomLossGradients, MeansOfManyLossesOfSixteenBits) {
  const std::int64_t many = 70000;  // more than float16 counts
  const at::Tensor a = normal({many, 2}).to(at::kHalf);
  const at::Tensor b = normal({many, 2}).to(at::kHalf);
  const at::Tensor target = classes(many, 2);
  const at::Tensor wide_a = a.to(at::kDouble).requires_grad_();
  const at::Tensor half_a = a.detach().requires_grad_();
  const at::Tensor apart = at::zeros({many}, at::kHalf);
  const at::Tensor wide_b = b.to(at::kDouble);
  const std::vector<std::pair<at::Tensor, at::Tensor>> means{
      {CustomLossFunction::huber()(half_a, b), at::huber_loss(wide_a, wide_b)},
      {CustomLossFunction::label_smoothed_cross_entropy()(half_a, target),
       at::cross_entropy_loss(wide_a, target, {}, at::Reduction::Mean, -100, 0.1)},
      {CustomLossFunction::focal({.gamma = 0})(half_a, target), at::cross_entropy_loss(wide_a, target)},
      {CustomLossFunction::triplet()({half_a, b, b.neg()}), at::triplet_margin_loss(wide_a, wide_b, wide_b.neg())},
      {CustomLossFunction::contrastive()({half_a, b, apart}),
       at::pairwise_distance(wide_a, wide_b, 2, 0).neg().add(1).clamp_min(0).square().mul(0.5).mean()}};
  for (const auto& [mean, expected] : means) {
    EXPECT_EQ(mean.scalar_type(), at::kHalf);
    EXPECT_NEAR(mean.item<double>(), expected.item<double>(), 2e-3);
    const at::Tensor slope = gradients({mean}, {half_a})[0].to(at::kDouble);
    // Rounding turns some triplets on or off.
    const at::Tensor close = slope.isclose(gradients({expected}, {wide_a})[0], 0.02, 3e-7);
    EXPECT_GT(close.to(at::kDouble).mean().item<double>(), 0.99);
  }
}

TEST(CustomFunctionGradients, OfEmptyTensorsHaveTheirShapes) {
  const std::vector<std::array<std::int64_t, 3>> sizes{{3, 4, 0}, {3, 0, 2}, {0, 4, 2}};
  for (const auto& [m, k, n] : sizes) {
    const at::Tensor input = at::zeros({2, m, k}, at::kDouble).requires_grad_();
    const at::Tensor weight = at::zeros({k, n}, at::kDouble).requires_grad_();
    const at::Tensor bias = at::zeros({n}, at::kDouble).requires_grad_();
    const at::Tensor ones = at::ones({2, m, n}, at::kDouble);
    const Tensors product = gradients({CustomAutogradFunction::apply(input, weight)}, {input, weight}, {ones});
    EXPECT_EQ(product[0].sizes(), input.sizes());
    EXPECT_EQ(product[1].sizes(), weight.sizes());
    const Tensors linear = gradients({custom_linear(input, weight.t(), bias)}, {input, weight, bias}, {ones});
    EXPECT_EQ(linear[1].sizes(), weight.sizes());
    EXPECT_TRUE(linear[2].eq(static_cast<double>(2 * m)).all().item<bool>()) << linear[2];
  }
}

TEST(CustomFunctionGradients, OfDeadUnitsAreZeroWhateverReachesThem) {
  const at::Tensor x = at::full({2}, -1.0, at::kDouble).requires_grad_();
  const at::Tensor infinite = at::full({2}, INFINITY, at::kDouble);
  EXPECT_TRUE(gradients({custom_relu(x)}, {x}, {infinite})[0].eq(0).all().item<bool>());
  EXPECT_TRUE(gradients({custom_leaky_relu(x, 0.1)}, {x}, {infinite})[0].isinf().all().item<bool>());
}

TEST(CustomFunctionErrors, NameWhatDoesNotFit) {
  EXPECT_ERROR_WITH("input_tensor has the shape [3, 4] and weight [3, 2]",
                    CustomAutogradFunction::apply(normal({3, 4}), normal({3, 2})));
  EXPECT_ERROR_WITH("input_tensor is Float and weight Double, allowed: one type",
                    CustomAutogradFunction::apply(normal({3, 4}).to(at::kFloat), normal({4, 2})));
  EXPECT_ERROR_WITH("[custom_relu] input has the type Long, allowed: floating types", custom_relu(classes(3, 3)));
  EXPECT_ERROR_WITH("[custom_leaky_relu] input has the type Long", custom_leaky_relu(classes(3, 3)));
  EXPECT_ERROR_WITH("[custom_linear] input is Float and weight Double, allowed: one type",
                    custom_linear(normal({4}).to(at::kFloat), normal({5, 4})));
  EXPECT_ERROR_WITH("[custom_linear] weight is Double and bias Long, allowed: one type",
                    custom_linear(normal({4}), normal({5, 4}), classes(5, 3)));
  EXPECT_ERROR_WITH("bias has the shape [3], allowed: [5]", custom_linear(normal({4}), normal({5, 4}), normal({3})));
  EXPECT_ERROR_WITH("lacks its value or its derivative", custom_activation(normal({4}), {}));
  EXPECT_ERROR_WITH("[huber] delta is 0, allowed: > 0", CustomLossFunction::huber({.delta = 0}));
  EXPECT_ERROR_WITH("allowed: the same", CustomLossFunction::huber()(normal({3}), normal({4})));
  EXPECT_ERROR_WITH("allowed: int64 classes",
                    CustomLossFunction::label_smoothed_cross_entropy()(normal({3, 2}), normal({3})));
  EXPECT_ERROR_WITH("[focal] gamma is 0.5", CustomLossFunction::focal({.gamma = 0.5}));
  EXPECT_ERROR_WITH("[triplet] p is inf, allowed: >= 1 and finite", CustomLossFunction::triplet({.p = INFINITY}));
  EXPECT_ERROR_WITH("[triplet] there are 2 inputs, allowed: 3",
                    CustomLossFunction::triplet()(normal({3, 2}), normal({3, 2})));
}

TEST(Contrastive, HasNoGradientBetweenPointsThatCoincide) {
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor a = normal({2, 3}).to(type).requires_grad_();
    const at::Tensor loss = CustomLossFunction::contrastive()({a, a.detach().clone(), at::zeros({2}, at::kDouble)});
    EXPECT_NEAR(loss.item<double>(), 0.5, 1e-3);
    loss.backward();
    EXPECT_TRUE(a.grad().eq(0).all().item<bool>()) << a.grad();
  }
}

TEST(Focal, IsFlatWhereASampleIsCertain) {
  for (const double gamma : {1.0, 1.5, 2.0}) {
    const at::Tensor x = at::full({2}, 800.0, at::kDouble).requires_grad_();
    const at::Tensor loss = CustomLossFunction::focal({.gamma = gamma})(x, at::ones({2}, at::kDouble));
    const at::Tensor slope = gradients({loss}, {x}, {}, {.create_graph = true})[0];
    EXPECT_TRUE(slope.eq(0).all().item<bool>()) << slope;
    const at::Tensor curvature = gradients({slope.sum()}, {x})[0];
    EXPECT_TRUE(curvature.eq(0).all().item<bool>()) << curvature;
  }
}

TEST(GradientPenalty, IsThatOfALinearFunction) {
  // The gradient of x·w is w for every sample.
  const at::Tensor w = normal({4}).requires_grad_();
  const at::Tensor x = normal({5, 4}).requires_grad_();
  const at::Tensor penalty = gradient_penalty(x.matmul(w), x, 1.0);
  const at::Tensor expected = w.norm().sub(1).pow(2);
  EXPECT_NEAR(penalty.item<double>(), expected.item<double>(), 1e-12);
  EXPECT_TRUE(gradients({penalty}, {w})[0].allclose(gradients({expected}, {w})[0]));
}

TEST(GradientPenalty, TakesOneNumberASample) {
  const at::Tensor x = normal({5}).requires_grad_();
  EXPECT_NEAR(gradient_penalty(x.mul(3), x, 1.0).item<double>(), 4, 1e-12);
}

TEST(Gradients, SayWhatHasNoGraph) {
  const at::Tensor w = normal({2}).requires_grad_();
  EXPECT_ERROR_WITH("input 0 asks for no gradient", gradients({w.sum()}, {normal({2})}));
  EXPECT_ERROR_WITH("output 0 has no graph", gradients({normal({})}, {w}));
  EXPECT_ERROR_WITH("output 0 has the shape [2]; without grad_outputs, allowed: a scalar", gradients({w.mul(2)}, {w}));
  EXPECT_ERROR_WITH("grad_outputs 0 has the shape [3], its output [2]", gradients({w.mul(2)}, {w}, {normal({3})}));
}

}  // namespace
}  // namespace gradwise
