// Transforms of closures over named parameters, against the same function with the parameters as arguments, closed
// forms and central differences.
#include "gradwise/autograd/transforms/closures.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <functional>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/autograd/transforms/vmap.h"
#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

bool alike(const at::Tensor& a, const at::Tensor& b, double tolerance = 1e-10) {
  return a.sizes() == b.sizes() && a.allclose(b, tolerance, tolerance);
}

// Two layers with a frozen tensor between them, as a closure on their own tensors and as a function of them.
class Closures : public testing::Test {
 protected:
  void SetUp() override {
    seed_everything(11);
    const auto random = [](at::IntArrayRef shape) { return at::randn(shape, at::kDouble); };
    x = random({5, 2});
    first = random({3, 2}).requires_grad_();
    frozen = random({3});
    second = random({2, 3}).requires_grad_();
    parameters.add("first", first);
    parameters.add("frozen", frozen);
    parameters.add("second", second);
    vectors = {random({3, 2}), random({2, 3})};
    given = {first.detach().clone(), second.detach().clone()};
    output_of = [this](const Tensors& in) { return at::linear(at::linear(x, in[0]).add(frozen).tanh(), in[1]); };
    loss_of = [this](const Tensors& in) { return Tensors{output_of(in).pow(2).mean()}; };
  }

  // The value of `f` on the way along `vectors`.
  [[nodiscard]] at::Tensor difference(const std::function<at::Tensor(const Tensors&)>& f, double h) const {
    const auto moved = [this](double by) {
      return Tensors{given[0].add(vectors[0], by), given[1].add(vectors[1], by)};
    };
    return f(moved(h)).sub(f(moved(-h))).div(2 * h);
  }

  at::Tensor x, first, frozen, second;
  NamedParameters parameters;
  Tensors vectors;
  Tensors given;
  std::function<at::Tensor(const Tensors&)> output_of;
  TensorFunction loss_of;
  const Closure output{[this] { return output_of({first, second}); }};
  const Closure loss{[this] { return loss_of({first, second})[0]; }};
};

TEST_F(Closures, GradEqualsThatOfTheFunction) {
  const Tensors expected = grad(loss_of, {.argnums = {0, 1}})(given);
  const ValueAndGrad found = value_and_grad(loss, parameters);
  EXPECT_TRUE(alike(found.value, loss_of(given)[0]));
  ASSERT_EQ(found.gradients.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_TRUE(alike(found.gradients[i], expected[i]));
    EXPECT_TRUE(alike(grad(loss, parameters)[i], expected[i]));
    EXPECT_FALSE(found.gradients[i].requires_grad());
  }
  EXPECT_FALSE(first.grad().defined());
  const double along =
      found.gradients[0].mul(vectors[0]).sum().item<double>() + found.gradients[1].mul(vectors[1]).sum().item<double>();
  const at::Tensor differences = difference([this](const Tensors& in) { return loss_of(in)[0]; }, 1e-6);
  EXPECT_NEAR(along, differences.item<double>(), 1e-8);
}

TEST_F(Closures, VjpJvpAndLinearizeEqualThoseOfTheFunction) {
  const TensorFunction function = [this](const Tensors& in) { return Tensors{output_of(in)}; };
  const at::Tensor cotangent = at::randn({5, 2}, at::kDouble);
  const Vjp pulled = vjp(output, parameters);
  EXPECT_TRUE(alike(pulled.outputs[0], output_of(given)));
  EXPECT_TRUE(alike(pulled.pull_back({cotangent})[1], vjp(function, given).pull_back({cotangent})[1]));
  const Jvp pushed = jvp(output, parameters, vectors);
  EXPECT_TRUE(alike(pushed.outputs[0], output_of(given)));
  EXPECT_TRUE(alike(pushed.tangents[0], difference(output_of, 1e-6), 1e-7));
  EXPECT_TRUE(alike(pushed.tangents[0], jvp(function, given, vectors).tangents[0]));
  EXPECT_TRUE(alike(linearize(output, parameters).jvp(vectors)[0], pushed.tangents[0]));
}

TEST_F(Closures, JacobianEqualsThatOfTheFunctionForEveryChunk) {
  const TensorFunction function = [this](const Tensors& in) { return Tensors{output_of(in), loss_of(in)[0]}; };
  const Closure both([this] { return Tensors{output_of({first, second}), loss_of({first, second})[0], x}; });
  const Tensors expected = jacobian(function, {.argnums = {0, 1}, .mode = JacobianMode::forward})(given);
  for (const RowOptions& options : {RowOptions{}, RowOptions{.chunk_size = 3}, RowOptions{.memory_bound = 1}}) {
    const Tensors found = jacobian(both, parameters, options, /*aux=*/1);
    ASSERT_EQ(found.size(), 5U);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_TRUE(alike(found[i], expected[i])) << i;
    }
    EXPECT_TRUE(alike(found[4], x));
  }
}

TEST_F(Closures, JacobiansByColumnsEqualThoseByRows) {
  const Closure both([this] { return Tensors{output_of({first, second}), frozen.mul(2), first.exp().sum(), x}; });
  const Tensors rows = jacobian(both, parameters, {.mode = JacobianMode::reverse}, /*aux=*/1);
  for (const RowOptions& options : {RowOptions{.mode = JacobianMode::forward}, RowOptions{},
                                    RowOptions{.chunk_size = 1, .mode = JacobianMode::forward},
                                    RowOptions{.chunk_size = 4, .mode = JacobianMode::forward},
                                    RowOptions{.memory_bound = 1, .mode = JacobianMode::forward}}) {
    const Tensors columns = jacobian(both, parameters, options, /*aux=*/1);
    ASSERT_EQ(columns.size(), rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      EXPECT_TRUE(alike(columns[i], rows[i])) << i;
      EXPECT_FALSE(columns[i].requires_grad()) << i;
    }
  }
  // Its product with a direction is the difference along it.
  const Tensors columns = jacobian(output, parameters, {.mode = JacobianMode::forward});
  const at::Tensor along =
      columns[0].flatten(2).matmul(vectors[0].flatten()).add(columns[1].flatten(2).matmul(vectors[1].flatten()));
  EXPECT_TRUE(alike(along, difference(output_of, 1e-6), 1e-7));
}

// The closure runs once, and what is fewer is gone over: the tangents of two elements and not the rows of a hundred.
TEST_F(Closures, JacobianPicksTheShorterSide) {
  const at::Tensor w = at::randn({2}, at::kDouble).requires_grad_();
  const at::Tensor inputs = at::randn({100, 2}, at::kDouble);
  NamedParameters few;
  few.add("w", w);
  std::int64_t runs = 0;
  const Closure tall([&runs, inputs, w] {
    ++runs;
    return inputs.matmul(w).sin();
  });
  const at::Tensor expected = inputs.matmul(w.detach()).cos().unsqueeze(1).mul(inputs);
  for (const JacobianMode mode : {JacobianMode::automatic, JacobianMode::forward, JacobianMode::reverse}) {
    runs = 0;
    EXPECT_TRUE(alike(jacobian(tall, few, {.mode = mode})[0], expected));
    EXPECT_EQ(runs, 1);
  }
  // A nested one keeps its graph: the gradient of a sum of squares of the Jacobian.
  for (const JacobianMode mode : {JacobianMode::forward, JacobianMode::reverse}) {
    const Closure size([&tall, &few, mode] { return jacobian(tall, few, {.mode = mode})[0].pow(2).sum(); });
    const at::Tensor z = inputs.matmul(w.detach());
    const at::Tensor slope = z.cos().mul(z.sin()).mul(-2).mul(inputs.pow(2).sum(1));
    EXPECT_TRUE(alike(grad(size, few)[0], slope.matmul(inputs)));
  }
  const at::Tensor none = at::zeros({0, 3}, at::kDouble).requires_grad_();
  few.add("none", none);
  EXPECT_EQ(jacobian(tall, few, {.mode = JacobianMode::forward})[1].sizes(), (std::vector<std::int64_t>{100, 0, 3}));
}

TEST_F(Closures, HessianAndItsProductsEqualThoseOfTheFunction) {
  const Tensors expected = hessian(loss_of, {.argnums = {0, 1}})(given);
  const Tensors blocks = hessian(loss, parameters, {.chunk_size = 2});
  ASSERT_EQ(blocks.size(), 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(alike(blocks[i], expected[i])) << i;
  }
  const Hvp product = hvp(loss, parameters, vectors);
  const auto flat_gradient = [this](const Tensors& in) { return flattened(grad(loss_of, {.argnums = {0, 1}})(in)); };
  EXPECT_TRUE(alike(flattened(product.products), difference(flat_gradient, 1e-5), 1e-7));
  EXPECT_TRUE(alike(product.gradients[1], grad(loss, parameters)[1]));
  EXPECT_TRUE(alike(product.value, loss_of(given)[0]));
}

TEST_F(Closures, NestToTheThirdOrder) {
  const at::Tensor w = at::randn({4}, at::kDouble).requires_grad_();
  NamedParameters one;
  one.add("w", w);
  const Closure quartic([w] { return w.pow(4).sum(); });
  const Closure slope([&] { return grad(quartic, one)[0].sum(); });
  const Closure curvature([&] { return grad(slope, one)[0].sum(); });
  const at::Tensor at_w = w.detach();
  EXPECT_TRUE(alike(grad(slope, one)[0], at_w.pow(2).mul(12)));
  EXPECT_TRUE(alike(grad(curvature, one)[0], at_w.mul(24)));
  const at::Tensor v = at::randn({4}, at::kDouble);
  const Closure along([&] { return hvp(quartic, one, {v}).products[0].sum(); });
  EXPECT_TRUE(alike(grad(along, one)[0], at_w.mul(24).mul(v)));
  EXPECT_FALSE(grad(slope, one)[0].requires_grad());
}

TEST_F(Closures, AreDifferentiableByWhatElseTheyCapture) {
  const at::Tensor scale = at::randn({}, at::kDouble).requires_grad_();
  const Closure scaled([&] { return loss_of({first, second})[0].mul(scale); });
  const at::Tensor norm = flattened(grad(scaled, parameters)).norm();
  const at::Tensor expected = flattened(grad(loss, parameters)).norm();
  EXPECT_TRUE(alike(gradients({norm}, {scale})[0], scale.detach().sign().mul(expected)));
  const at::NoGradGuard without;
  EXPECT_FALSE(grad(scaled, parameters)[0].requires_grad());
}

TEST_F(Closures, HandOnTheAuxResults) {
  const Closure with_output([this] { return Tensors{loss_of({first, second})[0], output_of({first, second})}; });
  const ValueAndGrad found = value_and_grad(with_output, parameters, /*aux=*/1);
  EXPECT_TRUE(alike(found.aux[0], output_of(given)));
  EXPECT_EQ(grad(with_output, parameters, 1).size(), 3U);
  EXPECT_EQ(vjp(with_output, parameters, 1).aux.size(), 1U);
  EXPECT_EQ(jvp(with_output, parameters, vectors, 1).aux.size(), 1U);
  EXPECT_EQ(linearize(with_output, parameters, 1).aux.size(), 1U);
  EXPECT_EQ(hvp(with_output, parameters, vectors, 1).aux.size(), 1U);
  EXPECT_EQ(hessian(with_output, parameters, {}, 1).size(), 5U);
}

TEST_F(Closures, NameWhatDoesNotFit) {
  EXPECT_ERROR_WITH("[grad] there is no closure", grad(std::function<at::Tensor()>(), parameters));
  NamedParameters only_frozen;
  only_frozen.add("frozen", frozen);
  EXPECT_ERROR_WITH("[hessian] no parameter asks for a gradient", hessian(loss, only_frozen));
  EXPECT_ERROR_WITH("[value_and_grad] the function has 1 outputs, the first of shape [5, 2], allowed: one scalar",
                    value_and_grad(output, parameters));
  EXPECT_ERROR_WITH("[hvp] there are 2 primals and 1 tangents", hvp(loss, parameters, {vectors[0]}));
  EXPECT_ERROR_WITH("[jacobian] chunk_size is 0, allowed: >= 1", jacobian(output, parameters, {.chunk_size = 0}));
  EXPECT_ERROR_WITH("[vjp] the function has 1 results, of which 1 are aux", vjp(loss, parameters, 1));
  const TensorFunction inside = [this](const Tensors& in) {
    return Tensors{in[0].mul(grad(loss, parameters)[0].sum())};
  };
  EXPECT_ERROR_WITH("[grad] a closure can't be differentiated inside of a transform over a function",
                    vmap(inside)({x}));
}

}  // namespace
}  // namespace gradwise
