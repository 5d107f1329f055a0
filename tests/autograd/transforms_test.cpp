// Transforms against closed forms, central differences and each other; nested to the third order.
#include "gradwise/autograd/transforms/jacobian.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/diag_embed.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>

#include "gradwise/autograd/checkpoint/checkpoint.h"
#include "gradwise/autograd/functions/custom_function.h"
#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/autograd/transforms/vmap.h"
#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

class Transforms : public testing::Test {
 protected:
  void SetUp() override { seed_everything(5); }
};

at::Tensor doubles(at::IntArrayRef shape) { return at::randn(shape, at::kDouble); }
bool near(const at::Tensor& a, const at::Tensor& b, double tolerance = 1e-10) {
  return a.sizes() == b.sizes() && a.allclose(b, tolerance, tolerance);
}

// sum of x³ y: simple derivatives of every order.
const TensorFunction kCubic = [](const Tensors& in) { return Tensors{in[0].pow(3).mul(in[1]).sum()}; };
// Two layers and a scalar.
const TensorFunction kNet = [](const Tensors& in) {
  return Tensors{at::linear(at::linear(in[2], in[0]).tanh(), in[1]).pow(2).mean()};
};

TEST_F(Transforms, GradsNestToTheThirdOrder) {
  const at::Tensor x = doubles({4});
  const at::Tensor y = doubles({4});
  EXPECT_TRUE(near(grad(kCubic)({x, y})[0], x.pow(2).mul(3).mul(y)));
  const TensorFunction first = [](const Tensors& in) { return Tensors{grad(kCubic)(in)[0].sum()}; };
  const TensorFunction second = [first](const Tensors& in) { return Tensors{grad(first)(in)[0].sum()}; };
  EXPECT_TRUE(near(grad(first)({x, y})[0], x.mul(6).mul(y)));
  EXPECT_TRUE(near(grad(second)({x, y})[0], y.mul(6)));
  const Tensors both = grad(second, {.argnums = {0, -1}})({x, y});
  EXPECT_TRUE(near(both[1], x.mul(6)));
}

TEST_F(Transforms, GradHandsOnTheAuxResultsAndLeavesGradFieldsAlone) {
  const at::Tensor x = doubles({3}).requires_grad_();
  const TensorFunction with_aux = [](const Tensors& in) { return Tensors{in[0].pow(2).sum(), in[0].exp()}; };
  const ValueAndGrad found = value_and_grad(with_aux, {.aux = 1})({x});
  EXPECT_TRUE(near(found.value, x.pow(2).sum()));
  EXPECT_TRUE(near(found.gradients[0], x.mul(2)));
  EXPECT_TRUE(near(found.aux[0], x.exp()));
  EXPECT_FALSE(x.grad().defined());
}

TEST_F(Transforms, GradIsDifferentiableByWhatTheFunctionCaptures) {
  const at::Tensor w = doubles({3}).requires_grad_();
  const at::Tensor x = doubles({3});
  const at::Tensor slope = grad([&w](const Tensors& in) { return Tensors{in[0].pow(2).mul(w).sum()}; })({x})[0];
  slope.sum().backward();
  EXPECT_TRUE(near(w.grad(), x.mul(2)));
}

TEST_F(Transforms, VjpPullsBackAgainAndAgain) {
  const TensorFunction two = [](const Tensors& in) { return Tensors{in[0].matmul(in[1]), in[0].sin()}; };
  const at::Tensor a = doubles({2, 3});
  const at::Tensor b = doubles({3, 4});
  const Vjp found = vjp(two, {a, b});
  EXPECT_TRUE(near(found.outputs[0], a.matmul(b)));
  for (int i = 0; i < 2; ++i) {
    const at::Tensor u = doubles({2, 4});
    const at::Tensor v = doubles({2, 3});
    const Tensors pulled = found.pull_back({u, v});
    EXPECT_TRUE(near(pulled[0], u.matmul(b.t()).add(v.mul(a.cos()))));
    EXPECT_TRUE(near(pulled[1], a.t().matmul(u)));
  }
}

TEST_F(Transforms, JvpIsTheDirectionalDerivative) {
  const TensorFunction f = [](const Tensors& in) { return Tensors{in[0].matmul(in[1]).tanh()}; };
  const at::Tensor a = doubles({2, 3});
  const at::Tensor b = doubles({3, 4});
  const at::Tensor da = doubles({2, 3});
  const at::Tensor db = doubles({3, 4});
  const Jvp found = jvp(f, {a, b}, {da, db});
  EXPECT_TRUE(found.forward_mode);
  const double h = 1e-6;
  const at::Tensor difference = f({a.add(da, h), b.add(db, h)})[0].sub(f({a.sub(da, h), b.sub(db, h)})[0]).div(2 * h);
  EXPECT_TRUE(near(found.tangents[0], difference, 1e-8));
  EXPECT_TRUE(near(linearize(f, {a, b}).jvp({da, db})[0], found.tangents[0]));
}

TEST_F(Transforms, JvpOfAFunctionOfOurOwnSaysThatItTookTwoBackwardPasses) {
  const TensorFunction f = [](const Tensors& in) {
    return Tensors{custom_activation(
        in[0], {[](const at::Tensor& x) { return x.sin(); }, [](const at::Tensor& x) { return x.cos(); }})};
  };
  const at::Tensor x = doubles({4});
  const at::Tensor v = doubles({4});
  const Jvp found = jvp(f, {x}, {v});
  EXPECT_TRUE(near(found.tangents[0], x.cos().mul(v)));
}

TEST_F(Transforms, JacobiansOfBothModesAgreeWithTheClosedForm) {
  const at::Tensor a = doubles({3, 2});
  const at::Tensor x = doubles({2});
  const TensorFunction f = [&a](const Tensors& in) { return Tensors{a.matmul(in[0]).exp(), in[0].pow(2)}; };
  const at::Tensor first = at::diag_embed(a.matmul(x).exp()).matmul(a);
  const at::Tensor second = at::diag_embed(x.mul(2));
  for (const JacobianMode mode : {JacobianMode::reverse, JacobianMode::forward, JacobianMode::automatic}) {
    for (const std::int64_t chunk : {1, 2, 8}) {
      const Tensors found = jacobian(f, {.mode = mode, .chunk_size = chunk})({x});
      EXPECT_TRUE(near(found[0], first)) << static_cast<int>(mode) << ' ' << chunk;
      EXPECT_TRUE(near(found[1], second)) << static_cast<int>(mode) << ' ' << chunk;
    }
  }
  EXPECT_TRUE(near(jacobian(f, {.mode = JacobianMode::reverse, .memory_bound = 1})({x})[0], first));
}

TEST_F(Transforms, HessianEqualsTheJacobianOfTheGradientAndItsProducts) {
  const Tensors in{doubles({3, 2}), doubles({1, 3}), doubles({5, 2})};
  const Tensors blocks = hessian(kNet, {.argnums = {0, 1}})(in);
  ASSERT_EQ(blocks.size(), 4U);
  EXPECT_EQ(blocks[1].sizes(), at::IntArrayRef({3, 2, 1, 3}));
  EXPECT_TRUE(near(blocks[0].reshape({6, 6}), blocks[0].reshape({6, 6}).t()));
  EXPECT_TRUE(near(blocks[1].reshape({6, 3}), blocks[2].reshape({3, 6}).t()));
  const Tensors by_jacobian = jacobian(grad(kNet), {.mode = JacobianMode::forward})(in);
  EXPECT_TRUE(near(by_jacobian[0], blocks[0]));
  const TensorFunction of_first = [&in](const Tensors& w) { return kNet({w[0], in[1], in[2]}); };
  const at::Tensor v = doubles({3, 2});
  for (const HvpMode mode : {HvpMode::reverse_over_reverse, HvpMode::forward_over_reverse}) {
    const Hvp product = hvp(of_first, {in[0]}, {v}, mode);
    EXPECT_TRUE(near(product.products[0].flatten(), blocks[0].reshape({6, 6}).mv(v.flatten())));
    EXPECT_TRUE(near(product.gradients[0], grad(kNet)(in)[0]));
    EXPECT_TRUE(near(product.value, kNet(in)[0]));
  }
}

TEST_F(Transforms, VmapEqualsALoopOverSlicesForEveryAxis) {
  const TensorFunction f = [](const Tensors& in) { return Tensors{in[0].matmul(in[1]).relu(), in[0].sum()}; };
  const at::Tensor a = doubles({2, 5, 3});  // gone over along 1
  const at::Tensor b = doubles({3, 4});     // the same for all
  const Tensors found = vmap(f, {.in_dims = {1, std::nullopt}, .out_dims = {-1, 0}})({a, b});
  const Tensors chunked = vmap(f, {.in_dims = {-2, std::nullopt}, .out_dims = {-1, 0}, .chunk_size = 2})({a, b});
  for (std::int64_t i = 0; i < 5; ++i) {
    const Tensors one = f({a.select(1, i), b});
    EXPECT_TRUE(near(found[0].select(-1, i), one[0]));
    EXPECT_TRUE(near(found[1].select(0, i), one[1]));
  }
  EXPECT_TRUE(found[0].equal(chunked[0]));
}

TEST_F(Transforms, VmapOfGradGivesTheGradientOfEachSample) {
  const at::Tensor w = doubles({3});
  const at::Tensor x = doubles({6, 3});
  const TensorFunction loss = [](const Tensors& in) { return Tensors{in[0].dot(in[1]).sin()}; };
  const at::Tensor each = vmap(grad(loss), {.in_dims = {std::nullopt, 0}})({w, x})[0];
  EXPECT_TRUE(near(each, x.mul(x.matmul(w).cos().unsqueeze(1))));
  const at::Tensor nested = grad([&](const Tensors& in) {
    return Tensors{vmap(loss, {.in_dims = {std::nullopt, 0}})({in[0], x})[0].sum()};
  })({w})[0];
  EXPECT_TRUE(near(nested, each.sum(0)));
}

TEST_F(Transforms, VmapDrawsAsItIsToldTo) {
  const TensorFunction noise = [](const Tensors& in) { return Tensors{at::randn_like(in[0])}; };
  const at::Tensor x = doubles({4, 3});
  EXPECT_THROW((void)vmap(noise)({x}), c10::Error);
  const at::Tensor same = vmap(noise, {.randomness = Randomness::same})({x})[0];
  const at::Tensor different = vmap(noise, {.randomness = Randomness::different})({x})[0];
  EXPECT_TRUE(same[0].equal(same[3]));
  EXPECT_FALSE(different[0].equal(different[3]));
}

TEST_F(Transforms, ComposeWithCheckpointing) {
  const TensorFunction plain = [](const Tensors& in) { return Tensors{in[0].mul(in[0].sin()).sum()}; };
  const TensorFunction kept = [plain](const Tensors& in) { return checkpoint(plain, in); };
  const at::Tensor x = doubles({4});
  EXPECT_TRUE(grad(kept)({x})[0].equal(grad(plain)({x})[0]));
  EXPECT_TRUE(near(hessian(kept)({x})[0], hessian(plain)({x})[0]));
  EXPECT_TRUE(near(vmap(grad(kept))({doubles({3, 4})})[0], vmap(grad(plain))({doubles({3, 4})})[0]) == false);
}

TEST_F(Transforms, NameWhatDoesNotFit) {
  const at::Tensor x = doubles({3});
  EXPECT_ERROR_WITH("allowed: one scalar", grad([](const Tensors& in) { return in; })({x}));
  EXPECT_ERROR_WITH("argnums has 2, the function has 1 arguments", grad(kCubic, {.argnums = {2}})({x}));
  EXPECT_ERROR_WITH("argument 0 is not a floating-point tensor", grad(kCubic)({x.to(at::kLong), x}));
  EXPECT_ERROR_WITH("[jvp] there are 1 primals and 2 tangents", jvp(kCubic, {x}, {x, x}));
  EXPECT_ERROR_WITH("tangent 0 is Double of the shape [2], its primal Double of the shape [3]",
                    jvp(kCubic, {x}, {doubles({2})}));
  EXPECT_ERROR_WITH("tangent 0 is Float", jvp(kCubic, {x}, {x.to(at::kFloat)}));
  EXPECT_ERROR_WITH("cotangent 0 has the shape [2], its output [3]",
                    vjp([](const Tensors& in) { return in; }, {x}).pull_back({doubles({2})}));
  EXPECT_ERROR_WITH("argument 1 has 4 slices, those before have 3", vmap(kCubic)({x, doubles({4})}));
  EXPECT_ERROR_WITH("every entry of in_dims is empty", vmap(kCubic, {.in_dims = {std::nullopt, std::nullopt}})({x, x}));
  EXPECT_ERROR_WITH("in_dims of argument 0 is 2", vmap(kCubic, {.in_dims = {2, 0}})({x, x}));
  EXPECT_ERROR_WITH("chunk_size is 0", vmap(kCubic, {.chunk_size = 0}));
  EXPECT_ERROR_WITH("[hessian] the output has the shape [3], allowed: a scalar",
                    hessian([](const Tensors& in) { return in; })({x}));
}

}  // namespace
}  // namespace gradwise
