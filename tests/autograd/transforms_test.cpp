// Transforms against closed forms, central differences and each other; nested to the third order.
#include "gradwise/autograd/transforms/jacobian.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/diag_embed.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>

#include <future>

#include "gradwise/autograd/checkpoint/checkpoint.h"
#include "gradwise/autograd/functions/custom_function.h"
#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/autograd/transforms/layer.h"
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

// A function as users write them: LibTorch gives it no forward derivative.
class PlainSine : public torch::autograd::Function<PlainSine> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return x.sin();
  }
  static Tensors backward(torch::autograd::AutogradContext* context, const Tensors& grads) {
    return {grads[0].mul(context->get_saved_variables()[0].cos())};
  }
};
const TensorFunction kPlainSine = [](const Tensors& in) { return Tensors{PlainSine::apply(in[0])}; };

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

TEST_F(Transforms, JvpRunsInSeveralThreadsAtOnce) {
  const at::Tensor x = doubles({4});
  const at::Tensor v = doubles({4});
  const TensorFunction sine = [](const Tensors& in) { return Tensors{in[0].sin()}; };
  const auto found_elsewhere = [&] {
    return std::async(std::launch::async, [&] { return jvp(sine, {x}, {v}).tangents[0]; }).get();
  };
  at::Tensor beside;
  {
    const JvpLayer open;
    beside = found_elsewhere();
  }
  EXPECT_TRUE(near(beside, x.cos().mul(v)));
  EXPECT_FALSE(inside_transform());
  EXPECT_TRUE(near(found_elsewhere(), x.cos().mul(v)));
}

TEST_F(Transforms, JvpTakesTwoBackwardPassesWhereSomethingHasNoForwardDerivative) {
  const at::Tensor x = doubles({4});
  const at::Tensor v = doubles({4});
  const Jvp found = jvp(kPlainSine, {x}, {v});
  EXPECT_FALSE(found.forward_mode);
  EXPECT_TRUE(near(found.tangents[0], x.cos().mul(v)));
  const TensorFunction sum = [](const Tensors& in) { return Tensors{PlainSine::apply(in[0]).sum()}; };
  const Hvp product = hvp(sum, {x}, {v}, HvpMode::forward_over_reverse);
  EXPECT_FALSE(product.forward_mode);
  EXPECT_TRUE(near(product.products[0], x.sin().mul(v).neg()));
}

TEST_F(Transforms, ProductsCanBeDifferentiatedByTheirVectors) {
  const at::Tensor a = doubles({2, 3});
  const at::Tensor x = doubles({3});
  const at::Tensor v = doubles({3});
  const at::Tensor u = doubles({2});
  const at::Tensor w = doubles({3});
  const TensorFunction f = [&a](const Tensors& in) { return Tensors{a.matmul(in[0]).tanh()}; };
  const Linearized there = linearize(f, {x});
  const TensorFunction of_tangent = [&](const Tensors& in) { return Tensors{there.jvp(in)[0].dot(u)}; };
  EXPECT_TRUE(near(grad(of_tangent)({v})[0], vjp(f, {x}).pull_back({u})[0]));
  const TensorFunction by_fallback = [&](const Tensors& in) {
    return Tensors{jvp(kPlainSine, {x}, in).tangents[0].dot(w)};
  };
  EXPECT_TRUE(near(grad(by_fallback)({v})[0], x.cos().mul(w)));
  const TensorFunction cubes = [](const Tensors& in) { return Tensors{in[0].pow(3).sum()}; };
  const TensorFunction of_vector = [&](const Tensors& in) { return Tensors{hvp(cubes, {x}, in).products[0].dot(w)}; };
  EXPECT_TRUE(near(grad(of_vector)({v})[0], x.mul(6).mul(w)));
}

TEST_F(Transforms, JvpOfAFunctionOfOurOwnIsInForwardMode) {
  const TensorFunction f = [](const Tensors& in) {
    return Tensors{custom_activation(
        in[0], {[](const at::Tensor& x) { return x.sin(); }, [](const at::Tensor& x) { return x.cos(); }})};
  };
  const at::Tensor x = doubles({4});
  const at::Tensor v = doubles({4});
  const Jvp found = jvp(f, {x}, {v});
  EXPECT_TRUE(found.forward_mode);
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

TEST_F(Transforms, JacobianByAnEmptyArgumentHasNoColumns) {
  const TensorFunction f = [](const Tensors& in) { return Tensors{at::cat({in[0], in[0], in[0]})}; };
  const Tensors in{doubles({2}), at::empty({0}, at::kDouble)};
  const Tensors found = jacobian(f, {.argnums = {0, 1}})(in);
  const at::Tensor one = at::eye(2, at::kDouble);
  EXPECT_TRUE(near(found[0], at::cat({one, one, one})));
  EXPECT_EQ(found[1].sizes(), at::IntArrayRef({6, 0}));
  EXPECT_ERROR_WITH("[jacobian] argument 1 has no elements: forward mode has no columns, allowed: reverse mode",
                    jacobian(f, {.argnums = {0, 1}, .mode = JacobianMode::forward})(in));
}

TEST_F(Transforms, ForwardJacobianDrawsTheSameForEachColumn) {
  const TensorFunction noise = [](const Tensors& in) { return Tensors{at::randn_like(in[0]).mul(in[0].sum())}; };
  const at::Tensor found = jacobian(noise, {.mode = JacobianMode::forward, .chunk_size = 2})({doubles({3})})[0];
  EXPECT_TRUE(found.select(1, 0).equal(found.select(1, 2)));
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
    EXPECT_EQ(product.forward_mode, mode == HvpMode::forward_over_reverse);
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
  const at::Tensor in_chunks = vmap(noise, {.randomness = Randomness::same, .chunk_size = 3})({x})[0];
  EXPECT_TRUE(in_chunks[0].equal(in_chunks[3]));
  EXPECT_FALSE(different[0].equal(different[3]));
}

TEST_F(Transforms, ComposeWithCheckpointing) {
  const TensorFunction plain = [](const Tensors& in) { return Tensors{in[0].mul(in[0].sin()).sum()}; };
  const TensorFunction kept = [plain](const Tensors& in) { return checkpoint(plain, in); };
  const at::Tensor x = doubles({4});
  EXPECT_TRUE(grad(kept)({x})[0].equal(grad(plain)({x})[0]));
  EXPECT_TRUE(near(hessian(kept)({x})[0], hessian(plain)({x})[0]));
  const at::Tensor batch = doubles({3, 4});
  EXPECT_TRUE(near(vmap(grad(kept))({batch})[0], vmap(grad(plain))({batch})[0]));
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
  EXPECT_ERROR_WITH("[vjp] there is no primal", vjp(kCubic, {}));
}

TEST_F(Transforms, NameWhatIsNoScalar) {
  const at::Tensor x = doubles({3});
  const TensorFunction itself = [](const Tensors& in) { return in; };
  const TensorFunction two = [](const Tensors& in) { return Tensors{in[0].sum(), in[0].sum()}; };
  EXPECT_ERROR_WITH("[value_and_grad] the function has 1 outputs, the first of shape [3], allowed: one scalar",
                    value_and_grad(itself)({x}));
  EXPECT_ERROR_WITH("[hessian] the function has 1 outputs, the first of shape [3]", hessian(itself)({x}));
  EXPECT_ERROR_WITH("[hessian] the function has 2 outputs, the first of shape []", hessian(two)({x}));
  for (const HvpMode mode : {HvpMode::reverse_over_reverse, HvpMode::forward_over_reverse}) {
    EXPECT_ERROR_WITH("[hvp] the function has 1 outputs, the first of shape [3]", hvp(itself, {x}, {x}, mode));
    EXPECT_ERROR_WITH("[hvp] the function has 2 outputs, the first of shape []", hvp(two, {x}, {x}, mode));
  }
}

TEST_F(Transforms, CheckTheirOptions) {
  EXPECT_ERROR_WITH("[jacobian] there is no function", jacobian(nullptr, {.mode = JacobianMode::forward}));
  EXPECT_ERROR_WITH("[jacobian] chunk_size is 0, allowed: >= 1", jacobian(kCubic, {.chunk_size = 0}));
  EXPECT_ERROR_WITH("[jacobian] memory_bound is -1, allowed: >= 0", jacobian(kCubic, {.memory_bound = -1}));
  EXPECT_ERROR_WITH("[hessian] there is no function", hessian(nullptr));
  EXPECT_ERROR_WITH("[hessian] chunk_size is 0, allowed: >= 1", hessian(kCubic, {.chunk_size = 0}));
  EXPECT_ERROR_WITH("[hessian] chunk_size is -1, allowed: >= 1", hessian(kCubic, {.chunk_size = -1}));
  EXPECT_ERROR_WITH("[hessian] memory_bound is -1, allowed: >= 0", hessian(kCubic, {.memory_bound = -1}));
}

}  // namespace
}  // namespace gradwise
