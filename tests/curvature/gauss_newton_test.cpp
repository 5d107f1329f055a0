// Products with the Gauss-Newton matrix against JᵀHJ in full, and where it is known to be the Hessian.
#include "gradwise/curvature/gauss_newton.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>

#include <functional>

#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/core/random_state.h"
#include "gradwise/curvature/hessian.h"
#include "gradwise/curvature/trace.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

struct Net {
  at::Tensor first = at::randn({4, 3}, at::kDouble).requires_grad_();
  at::Tensor second = at::randn({3, 4}, at::kDouble).requires_grad_();
  at::Tensor x = at::randn({6, 3}, at::kDouble);
  at::Tensor classes = at::randint(3, {6}, at::kLong);

  static at::Tensor outputs(const Tensors& weights, const at::Tensor& x) {
    return x.matmul(weights[0].t()).tanh().matmul(weights[1].t());
  }
  [[nodiscard]] Model model() const {
    Model made;
    made.parameters.add("first", first);
    made.parameters.add("second", second);
    made.forward = [*this](const Batch& batch) { return outputs({first, second}, batch.input); };
    return made;
  }
};

at::Tensor full(const LinearOperator& matrix) { return matrix.apply_columns(at::eye(matrix.size(), matrix.options())); }

const LossFunction kCrossEntropy = [](const at::Tensor& o, const at::Tensor& t) {
  return at::cross_entropy_loss(o, t);
};

TEST(GaussNewton, IsTheProductOfJacobiansAndTheLosssHessian) {
  seed_everything(8);
  const Net net;
  const TensorFunction outputs = [&net](const Tensors& w) { return Tensors{Net::outputs(w, net.x)}; };
  const Tensors blocks = jacobian(outputs, {.argnums = {0, 1}})({net.first.detach(), net.second.detach()});
  const at::Tensor J = at::cat({blocks[0].reshape({18, 12}), blocks[1].reshape({18, 12})}, 1);
  const at::Tensor z = Net::outputs({net.first, net.second}, net.x).detach();
  const TensorFunction loss = [&net](const Tensors& in) { return Tensors{kCrossEntropy(in[0], net.classes)}; };
  const at::Tensor H = hessian(loss)({z})[0].reshape({18, 18});
  const at::Tensor expected = J.t().matmul(H).matmul(J);
  const GaussNewton matrix(net.model(), kCrossEntropy, net.x, net.classes);
  const at::Tensor found = full(matrix);
  EXPECT_TRUE(found.allclose(expected, 1e-10, 1e-12)) << found.sub(expected).abs().max();
  EXPECT_GE(at::linalg_eigvalsh(found).min().item<double>(), -1e-12);
  EXPECT_FALSE(net.first.grad().defined());
  const Estimate trace = xnystrace(matrix, {.products = 24});
  EXPECT_NEAR(trace.value, expected.trace().item<double>(), 1e-6);
}

TEST(GaussNewton, OfALinearModelIsTheHessian) {
  seed_everything(9);
  const at::Tensor w = at::randn({2, 3}, at::kDouble).requires_grad_();
  Model model;
  model.parameters.add("w", w);
  model.forward = [w](const Batch& batch) { return batch.input.matmul(w.t()); };
  const at::Tensor x = at::randn({5, 3}, at::kDouble);
  const at::Tensor y = at::randn({5, 2}, at::kDouble);
  const LossFunction loss = [](const at::Tensor& o, const at::Tensor& t) { return at::mse_loss(o, t); };
  EXPECT_TRUE(full(GaussNewton(model, loss, x, y)).allclose(full(Hessian(model, loss, x, y)), 1e-12, 1e-13));
}

// x³, with no gradient for zeros; or, as kConstant, with what arrives taken for a constant.
template <bool kConstant>
class OwnCube : public torch::autograd::Function<OwnCube<kConstant>> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return x.pow(3);
  }
  static Tensors backward(torch::autograd::AutogradContext* context, const Tensors& grads) {
    if (!grads[0].any().item<bool>()) {
      return {at::Tensor()};
    }
    const at::Tensor arrived = kConstant ? grads[0].detach() : grads[0];
    return {arrived.mul(context->get_saved_variables()[0].square()).mul(3)};
  }
};

TEST(GaussNewton, TakesABackwardThatBranchesOnZerosAndRefusesOneThatDetaches) {
  seed_everything(12);
  const Net net;
  const auto with = [&net](const std::function<at::Tensor(const at::Tensor&)>& activation) {
    Model model = net.model();
    model.forward = [&net, activation](const Batch& batch) {
      return activation(batch.input.matmul(net.first.t())).matmul(net.second.t());
    };
    return model;
  };
  const auto cube = [](const at::Tensor& x) { return x.pow(3); };
  const at::Tensor expected = full(GaussNewton(with(cube), kCrossEntropy, net.x, net.classes));
  const auto own = [](const at::Tensor& x) { return OwnCube<false>::apply(x); };
  EXPECT_TRUE(full(GaussNewton(with(own), kCrossEntropy, net.x, net.classes)).allclose(expected, 1e-10, 1e-12));
  const auto constant = [](const at::Tensor& x) { return OwnCube<true>::apply(x); };
  EXPECT_ERROR_WITH("gives a gradient that is not linear",
                    full(GaussNewton(with(constant), kCrossEntropy, net.x, net.classes)));
}

TEST(GaussNewton, SaysWhatItCannotTake) {
  seed_everything(10);
  const Net net;
  const GaussNewton matrix(net.model(), kCrossEntropy, net.x, net.classes);
  EXPECT_ERROR_WITH("[gauss_newton] the vector has the shape [3], allowed: [24]",
                    matrix.apply(at::zeros({3}, at::kDouble)));
  EXPECT_ERROR_WITH(
      "[gauss_newton] the loss has 18 elements",
      GaussNewton(net.model(), [](const at::Tensor& o, const at::Tensor&) { return o.mul(2); }, net.x, net.classes));
  const LossFunction constant = [](const at::Tensor& o, const at::Tensor&) { return o.detach().sum(); };
  EXPECT_ERROR_WITH("[gauss_newton] the loss does not depend on the model's output",
                    GaussNewton(net.model(), constant, net.x, net.classes));
  Model frozen = net.model();
  frozen.parameters = {};
  EXPECT_ERROR_WITH("[gauss_newton] no parameter of the model asks for a gradient",
                    GaussNewton(frozen, kCrossEntropy, net.x, net.classes));
  const GaussNewton linear(
      net.model(), [](const at::Tensor& o, const at::Tensor&) { return o.sum(); }, net.x, net.classes);
  EXPECT_EQ(linear.apply(at::randn({24}, at::kDouble)).abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace gradwise
