// Functions whose backward loses its graph are refused by name wherever their second derivative counts, and functions
// that are linear are not.
#include "gradwise/autograd/functions/differentiable_gradients.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/transforms/closures.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

using BackwardContext = torch::autograd::AutogradContext;

// x², with a backward that is right once.
class SquareOnce : public torch::autograd::Function<SquareOnce> {
 public:
  static at::Tensor forward(BackwardContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return x.square();
  }
  static Tensors backward(BackwardContext* context, const Tensors& grads) {
    const at::NoGradGuard without;
    return {grads[0].mul(context->get_saved_variables()[0]).mul(2)};
  }
};

class Triple : public torch::autograd::Function<Triple> {
 public:
  static at::Tensor forward(BackwardContext*, const at::Tensor& x) { return x.mul(3); }
  static Tensors backward(BackwardContext*, const Tensors& grads) { return {grads[0].mul(3)}; }
};

// The sign, whose derivative is 0 everywhere.
class Step : public torch::autograd::Function<Step> {
 public:
  static at::Tensor forward(BackwardContext*, const at::Tensor& x) { return x.sign(); }
  static Tensors backward(BackwardContext*, const Tensors& grads) { return {at::zeros_like(grads[0])}; }
};

// x³ without a gradient for zeros.
class Cube : public torch::autograd::Function<Cube> {
 public:
  static at::Tensor forward(BackwardContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return x.pow(3);
  }
  static Tensors backward(BackwardContext* context, const Tensors& grads) {
    if (!grads[0].any().item<bool>()) {
      return {at::Tensor()};
    }
    return {grads[0].mul(context->get_saved_variables()[0].square()).mul(3)};
  }
};

// The slope keeps its graph, what arrives loses its own.
class CubeOfAConstant : public torch::autograd::Function<CubeOfAConstant> {
 public:
  static at::Tensor forward(BackwardContext* context, const at::Tensor& x) { return Cube::forward(context, x); }
  static Tensors backward(BackwardContext* context, const Tensors& grads) {
    return Cube::backward(context, {grads[0].detach()});
  }
};

class ClampedCube : public torch::autograd::Function<ClampedCube> {
 public:
  static at::Tensor forward(BackwardContext* context, const at::Tensor& x) { return Cube::forward(context, x); }
  static Tensors backward(BackwardContext* context, const Tensors& grads) {
    return {Cube::backward(context, grads)[0].clamp(-1, 1)};
  }
};

const TensorFunction kSquareOnce = [](const Tensors& in) { return Tensors{SquareOnce::apply(in[0]).sum()}; };
// Only a part of it is lost.
const TensorFunction kBeside = [](const Tensors& in) {
  return Tensors{SquareOnce::apply(in[0]).add(in[0].pow(3)).sum()};
};
const TensorFunction kVectorOnce = [](const Tensors& in) { return Tensors{SquareOnce::apply(in[0])}; };

constexpr const char* kRefusal = "SquareOnce gives a gradient that is not differentiable: its backward is marked";

at::Tensor some_points() { return at::linspace(0.5, 2, 3, at::kDouble); }

TEST(DifferentiableGradients, SecondDerivativesOfWhatHasNoneAreRefused) {
  const at::Tensor x = some_points();
  const at::Tensor v = x.cos();
  for (const TensorFunction& function : {kSquareOnce, kBeside}) {
    EXPECT_ERROR_WITH(kRefusal, hvp(function, {x}, {v}));
    EXPECT_ERROR_WITH(kRefusal, hessian(function)({x}));
    EXPECT_ERROR_WITH(kRefusal, jvp(function, {x}, {v}));
    EXPECT_ERROR_WITH(kRefusal, hvp(function, {x}, {v}, HvpMode::forward_over_reverse));
    EXPECT_ERROR_WITH(kRefusal, linearize(function, {x}));
    const TensorFunction slopes = [&function](const Tensors& in) { return Tensors{grad(function)(in)[0].sum()}; };
    EXPECT_ERROR_WITH("[grad] an operator can't be differentiated as often as this takes", grad(slopes)({x}));
  }
  const TensorFunction rows = jacobian(kVectorOnce, {.mode = JacobianMode::reverse});
  EXPECT_ERROR_WITH(kRefusal, jacobian(rows, {.mode = JacobianMode::reverse})({x}));
}

TEST(DifferentiableGradients, FirstDerivativesStay) {
  const at::Tensor x = some_points();
  EXPECT_TRUE(grad(kSquareOnce)({x})[0].allclose(x.mul(2)));
  EXPECT_TRUE(jacobian(kVectorOnce, {.mode = JacobianMode::reverse})({x})[0].allclose(x.mul(2).diag()));
  const at::Tensor w = x.clone().requires_grad_();
  EXPECT_TRUE(grad(kSquareOnce)({w})[0].allclose(x.mul(2)));
  EXPECT_TRUE(jacobian(kVectorOnce, {.mode = JacobianMode::reverse})({w})[0].allclose(x.mul(2).diag()));
}

TEST(DifferentiableGradients, LinearFunctionsHaveAHessianOfZeros) {
  const at::Tensor x = some_points();
  const at::Tensor v = x.cos();
  const TensorFunction triple = [](const Tensors& in) { return Tensors{Triple::apply(in[0]).sum()}; };
  const TensorFunction step = [](const Tensors& in) { return Tensors{Step::apply(in[0]).sum()}; };
  for (const TensorFunction& function : {triple, step}) {
    EXPECT_TRUE(hvp(function, {x}, {v}).products[0].equal(at::zeros_like(x)));
    EXPECT_TRUE(hessian(function)({x})[0].equal(at::zeros({3, 3}, at::kDouble)));
    const TensorFunction slopes = [&function](const Tensors& in) { return Tensors{grad(function)(in)[0].sum()}; };
    EXPECT_TRUE(grad(slopes)({x})[0].equal(at::zeros_like(x)));
  }
  EXPECT_TRUE(linearize(triple, {x}).jvp({v})[0].allclose(v.sum().mul(3)));
  const TensorFunction beside = [&triple](const Tensors& in) { return Tensors{triple(in)[0].add(in[0].pow(2).sum())}; };
  EXPECT_TRUE(hessian(beside)({x})[0].allclose(at::eye(3, at::kDouble).mul(2)));
}

TEST(DifferentiableGradients, ClosuresAndPenaltiesRefuseTheSame) {
  const at::Tensor w = some_points().requires_grad_();
  NamedParameters parameters;
  parameters.add("w", w);
  const Closure loss([&] { return SquareOnce::apply(w).sum(); });
  EXPECT_ERROR_WITH(kRefusal, hvp(loss, parameters, {w.detach()}));
  const Closure slopes([&] { return grad(loss, parameters).front().sum(); });
  EXPECT_ERROR_WITH(kRefusal, grad(slopes, parameters));
  // More rows than columns: the columns are refused, and the rows need no second derivative.
  const Closure twice([&] { return SquareOnce::apply(w).repeat({2}); });
  EXPECT_TRUE(jacobian(twice, parameters)[0].allclose(w.detach().mul(2).diag().repeat({2, 1})));
  const at::Tensor batch = some_points().unsqueeze(1).requires_grad_();
  EXPECT_ERROR_WITH(kRefusal, gradient_penalty(SquareOnce::apply(batch), batch));
}

TEST(LinearBackward, OneThatIsNotIsRefusedWhereItIsTransposed) {
  const TensorFunction constant = [](const Tensors& in) { return Tensors{CubeOfAConstant::apply(in[0].sin()).exp()}; };
  const TensorFunction clamped = [](const Tensors& in) { return Tensors{ClampedCube::apply(in[0].sin()).exp()}; };
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor x = some_points().to(type);
    EXPECT_ERROR_WITH("CubeOfAConstant gives a gradient that is not linear", jvp(constant, {x}, {x.cos()}));
    EXPECT_ERROR_WITH("CubeOfAConstant gives a gradient that is not linear", linearize(constant, {x}));
    EXPECT_ERROR_WITH("ClampedCube gives a gradient that is not linear", linearize(clamped, {x}));
  }
  const at::Tensor w = some_points().requires_grad_();
  NamedParameters parameters;
  parameters.add("w", w);
  const Closure cubes([&] { return CubeOfAConstant::apply(w).repeat({2}); });
  EXPECT_ERROR_WITH("[jvp] the product with the Jacobian would be wrong", jvp(cubes, parameters, {w.detach()}));
  const at::Tensor slopes = w.detach().square().mul(3).diag().repeat({2, 1});
  EXPECT_TRUE(jacobian(cubes, parameters)[0].allclose(slopes)) << "rows need no transpose";
}

TEST(LinearBackward, OneThatIsPassesInEveryTypeAndWhereTheJacobianIsZero) {
  const TensorFunction cube = [](const Tensors& in) { return Tensors{Cube::apply(in[0])}; };
  const TensorFunction one = [](const Tensors& in) { return Tensors{at::softmax(Cube::apply(in[0]), 0).sum()}; };
  const TensorFunction cancelled = [](const Tensors& in) {
    const at::Tensor y = Cube::apply(in[0]);
    return Tensors{y.mul(512).sub(y.mul(511))};
  };
  for (const at::ScalarType type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16}) {
    const at::Tensor x = some_points().to(type);
    const at::Tensor v = x.cos();
    const at::Tensor expected = x.square().mul(3).mul(v);
    const double tolerance = type == at::kDouble ? 1e-12 : type == at::kFloat ? 1e-5 : 3e-2;
    EXPECT_TRUE(jvp(cube, {x}, {v}).tangents[0].allclose(expected, tolerance, tolerance)) << type;
    EXPECT_TRUE(linearize(cube, {x}).jvp({v})[0].allclose(expected, tolerance, tolerance)) << type;
    EXPECT_LT(linearize(one, {x}).jvp({v})[0].abs().item<double>(), 10 * tolerance) << type;
    EXPECT_NO_THROW((void)linearize(cancelled, {x})) << type;
    EXPECT_NO_THROW((void)linearize(cube, {x.mul(0)})) << type;
  }
}

TEST(DifferentiableGradients, BackwardThroughWhatIsLostThrows) {
  const at::Tensor x = some_points().requires_grad_();
  const at::Tensor slope = gradients({SquareOnce::apply(x).sum()}, {x}, {}, {.create_graph = true})[0];
  EXPECT_TRUE(slope.allclose(x.detach().mul(2)));
  EXPECT_ANY_THROW(slope.sum().backward());
}

}  // namespace
}  // namespace gradwise
