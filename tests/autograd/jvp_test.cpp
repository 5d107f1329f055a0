// linearize inside of other transforms, and the aux results of second derivatives, against closed forms.
#include "gradwise/autograd/transforms/jvp.h"

#include <ATen/ops/diag_embed.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/autograd/transforms/vmap.h"
#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

class JvpAndAux : public testing::Test {
 protected:
  void SetUp() override { seed_everything(7); }
};

at::Tensor random_of(at::IntArrayRef shape) { return at::randn(shape, at::kDouble); }
bool same_as(const at::Tensor& a, const at::Tensor& b) { return a.sizes() == b.sizes() && a.allclose(b, 1e-10, 1e-10); }

TEST_F(JvpAndAux, LinearizeNests) {
  const at::Tensor x = random_of({4});
  const at::Tensor v = random_of({4});
  const TensorFunction sine = [](const Tensors& in) { return Tensors{in[0].sin(), in[0].sum()}; };
  // The derivative of sum(cos(x) v) by x, and then that of sum(-sin(x) v).
  const TensorFunction first = [&](const Tensors& in) { return Tensors{linearize(sine, {in[0]}).jvp({v})[0].sum()}; };
  const TensorFunction second = [&](const Tensors& in) { return Tensors{grad(first)(in)[0].sum()}; };
  EXPECT_TRUE(same_as(grad(first)({x})[0], x.sin().mul(v).neg()));
  EXPECT_TRUE(same_as(grad(second)({x})[0], x.cos().mul(v).neg()));
  const TensorFunction both = [&](const Tensors& in) {
    const Linearized there = linearize(sine, {in[0]}, /*aux=*/1);
    return Tensors{there.outputs[0], there.jvp({v})[0], there.aux[0]};
  };
  const at::Tensor batch = random_of({3, 4});
  const Tensors found = vmap(both)({batch});
  EXPECT_TRUE(same_as(found[0], batch.sin()));
  EXPECT_TRUE(same_as(found[1], batch.cos().mul(v)));
  EXPECT_TRUE(same_as(found[2], batch.sum(1)));
}

TEST_F(JvpAndAux, SecondDerivativesHandOnTheAuxResults) {
  const at::Tensor x = random_of({3});
  const at::Tensor v = random_of({3});
  const TensorFunction f = [](const Tensors& in) { return Tensors{in[0].pow(3).sum(), in[0].exp(), in[0].sin()}; };
  for (const HvpMode mode : {HvpMode::reverse_over_reverse, HvpMode::forward_over_reverse}) {
    const Hvp found = hvp(f, {x}, {v}, mode, /*aux=*/2);
    EXPECT_TRUE(same_as(found.products[0], x.mul(6).mul(v)));
    EXPECT_TRUE(same_as(found.value, x.pow(3).sum()));
    ASSERT_EQ(found.aux.size(), 2U);
    EXPECT_TRUE(same_as(found.aux[1], x.sin()));
  }
  const Tensors blocks = hessian(f, {.aux = 2})({x});
  ASSERT_EQ(blocks.size(), 3U);
  EXPECT_TRUE(same_as(blocks[0], at::diag_embed(x.mul(6))));
  EXPECT_TRUE(same_as(blocks[1], x.exp()));
  const Linearized there = linearize(f, {x}, /*aux=*/1);
  EXPECT_EQ(there.outputs.size(), 2U);
  EXPECT_TRUE(same_as(there.jvp({v})[1], x.exp().mul(v)));
  EXPECT_TRUE(same_as(there.aux[0], x.sin()));
}

TEST_F(JvpAndAux, AuxResultsMayStandBehindAMark) {
  const at::Tensor x = random_of({3});
  const at::Tensor v = random_of({3});
  const TensorFunction cube = [](const Tensors& in) {
    return Tensors{in[0].pow(3).sum(), at::Tensor(), in[0].exp(), in[0].sin()};
  };
  const auto expect_aux = [&x](const Tensors& aux) {
    ASSERT_EQ(aux.size(), 2U);
    EXPECT_TRUE(same_as(aux[0], x.exp()));
    EXPECT_TRUE(same_as(aux[1], x.sin()));
  };
  const ValueAndGrad slope = value_and_grad(cube, {.aux = kMarkedAux})({x});
  EXPECT_TRUE(same_as(slope.gradients[0], x.square().mul(3)));
  expect_aux(slope.aux);
  for (const HvpMode mode : {HvpMode::reverse_over_reverse, HvpMode::forward_over_reverse}) {
    const Hvp found = hvp(cube, {x}, {v}, mode, kMarkedAux);
    EXPECT_TRUE(same_as(found.products[0], x.mul(6).mul(v)));
    expect_aux(found.aux);
  }
  const TensorFunction two = [](const Tensors& in) { return Tensors{in[0].sin(), in[0].exp(), at::Tensor()}; };
  const Jvp pushed = jvp(two, {x}, {v}, kMarkedAux);
  ASSERT_EQ(pushed.outputs.size(), 2U);
  EXPECT_TRUE(pushed.aux.empty());
  EXPECT_TRUE(same_as(pushed.tangents[1], x.exp().mul(v)));
  for (const JacobianMode mode : {JacobianMode::forward, JacobianMode::reverse}) {
    const Tensors blocks = jacobian(cube, {.aux = kMarkedAux, .mode = mode})({x});
    EXPECT_TRUE(same_as(blocks[0], x.square().mul(3)));
    expect_aux({blocks.begin() + 1, blocks.end()});
  }
  const TensorFunction none = [](const Tensors& in) { return Tensors{at::Tensor(), in[0].sin()}; };
  EXPECT_ERROR_WITH("1 results, of which 1 are aux", (void)vjp(none, {x}, kMarkedAux));
  const TensorFunction unmarked = [](const Tensors& in) { return Tensors{in[0].sin()}; };
  EXPECT_ERROR_WITH("none of them undefined", (void)vjp(unmarked, {x}, kMarkedAux));
}

}  // namespace
}  // namespace gradwise
