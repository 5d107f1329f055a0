// Backward passes that are wrong in one known way each, and what gradcheck says of them.
#include "gradwise/autograd/functions/gradcheck.h"

#include <ATen/ops/complex.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>

#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

enum class Flaw {
  none,
  factor,
  ignores_output_gradient,
  differs_each_time,
  wrong_shape,
  wrong_second_order,
  needs_a_gradient
};

// x³ with a backward that has the flaw.
class Cube : public torch::autograd::Function<Cube> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, std::int64_t flaw) {
    context->save_for_backward({x});
    context->saved_data["flaw"] = flaw;
    context->set_materialize_grads(static_cast<Flaw>(flaw) != Flaw::needs_a_gradient);
    return x.pow(3);
  }
  static Tensors backward(torch::autograd::AutogradContext* context, const Tensors& grads) {
    static int calls = 0;
    const at::Tensor x = context->get_saved_variables()[0];
    const at::Tensor slope = x.pow(2).mul(3);
    switch (static_cast<Flaw>(context->saved_data["flaw"].toInt())) {
      case Flaw::factor:
        return {grads[0].mul(slope).mul(1.01), {}};
      case Flaw::ignores_output_gradient:
        return {slope, {}};
      case Flaw::differs_each_time:
        return {grads[0].mul(slope).mul(1 + 1e-7 * ++calls), {}};
      case Flaw::wrong_shape:
        return {grads[0].mul(slope).sum(), {}};
      case Flaw::wrong_second_order:
        return {grads[0].mul(slope.detach()), {}};
      case Flaw::needs_a_gradient:  // and gets an undefined one
      case Flaw::none:
        break;
    }
    return {grads[0].mul(slope), {}};
  }
};

TensorFunction cube(Flaw flaw) {
  return [flaw](const Tensors& in) { return Tensors{Cube::apply(in[0], static_cast<std::int64_t>(flaw))}; };
}

Tensors cube_input() {
  seed_everything(1);
  return {at::randn({2, 3}, at::kDouble).add(2).requires_grad_()};
}

TEST(Gradcheck, AcceptsARightBackwardAndLeavesItsInputs) {
  const Tensors in = cube_input();
  const at::Tensor before = in[0].detach().clone();
  EXPECT_TRUE(gradcheck(cube(Flaw::none), in));
  EXPECT_TRUE(gradgradcheck(cube(Flaw::none), in));
  EXPECT_TRUE(in[0].detach().equal(before));
  EXPECT_FALSE(in[0].grad().defined());
}

TEST(Gradcheck, FindsEachFlawAndNamesIt) {
  EXPECT_ERROR_WITH("Jacobian mismatch for output 0 with respect to input 0",
                    gradcheck(cube(Flaw::factor), cube_input()));
  EXPECT_ERROR_WITH("Backward is not reentrant", gradcheck(cube(Flaw::differs_each_time), cube_input()));
  EXPECT_ERROR_WITH("Jacobian mismatch", gradcheck(cube(Flaw::ignores_output_gradient), cube_input()));
  EXPECT_ERROR_WITH("Jacobian mismatch", gradgradcheck(cube(Flaw::wrong_second_order), cube_input()));
  EXPECT_ERROR_WITH("[gradgradcheck] Jacobian", gradgradcheck(cube(Flaw::wrong_second_order), cube_input()));
  EXPECT_TRUE(gradcheck(cube(Flaw::wrong_second_order), cube_input()));
  EXPECT_ERROR_WITH("[gradcheck] Backward failed: ", gradcheck(cube(Flaw::wrong_shape), cube_input()));
  EXPECT_FALSE(gradcheck(cube(Flaw::wrong_shape), cube_input(), {.raise_exception = false}));
  EXPECT_ERROR_WITH("Expected backward function to handle undefined output grads",
                    gradcheck(cube(Flaw::needs_a_gradient), cube_input()));
  EXPECT_TRUE(gradcheck(cube(Flaw::needs_a_gradient), cube_input(), {.check_undefined_grad = false}));
  EXPECT_FALSE(gradcheck(cube(Flaw::factor), cube_input(), {.raise_exception = false}));
}

TEST(Gradcheck, ToleratesWhatItIsToldTo) {
  EXPECT_TRUE(gradcheck(cube(Flaw::factor), cube_input(), {.rtol = 0.02}));
  EXPECT_FALSE(gradcheck(cube(Flaw::differs_each_time), cube_input(), {.raise_exception = false}));
  EXPECT_TRUE(gradcheck(cube(Flaw::differs_each_time), cube_input(), {.nondet_tol = 1e-3}));
}

TEST(Gradcheck, ChecksANonContiguousInputElementByElement) {
  seed_everything(2);
  const at::Tensor x = at::randn({3, 2}, at::kDouble).t().requires_grad_();
  const at::Tensor weight = at::randn({2, 3}, at::kDouble);
  EXPECT_TRUE(gradcheck([&](const Tensors& in) { return Tensors{in[0].pow(2).mul(weight)}; }, {x}));
}

TEST(Gradcheck, RefusesWhatItCannotCheck) {
  const auto same = [](const Tensors& in) { return Tensors{in[0].mul(2)}; };
  EXPECT_ERROR_WITH("at least one input tensor to require gradient", gradcheck(same, {at::randn({2}, at::kDouble)}));
  const at::Tensor real = at::randn({2}, at::kDouble);
  EXPECT_ERROR_WITH("input 0 is complex", gradcheck(same, {at::complex(real, real).requires_grad_()}));
  EXPECT_ERROR_WITH("input 0 has the layout Sparse", gradcheck(same, {at::randn({2, 2}, at::kDouble).to_sparse()}));
  EXPECT_ERROR_WITH("a dimension with stride 0",
                    gradcheck(same, {at::randn({1}, at::kDouble).expand({3}).requires_grad_()}));
  EXPECT_ERROR_WITH("eps is 0, allowed: > 0", gradcheck(same, cube_input(), {.eps = 0}));
  EXPECT_ERROR_WITH("[gradgradcheck] gradcheck expects at least one input",
                    gradgradcheck(same, {at::randn({2}, at::kDouble)}));
}

}  // namespace
}  // namespace gradwise
