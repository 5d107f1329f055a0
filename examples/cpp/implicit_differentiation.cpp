// The gradient of a validation loss by a regularisation strength, through the weights that training ends at, without
// going through the training (Pedregosa 2016; Lorraine et al. 2020).
//
// At the optimum the training's gradient g(w, s) is 0, so dw/ds = -H⁻¹ ∂g/∂s and
// dL/ds = -(∂g/∂s)·H⁻¹ ∇L(w): one system with the Hessian, solved by conjugate gradients from products alone.
// For ridge regression, where w has a closed form, the result is held against central differences of that.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/zeros.h>

#include "examples/cpp/conjugate_gradients.h"
#include "examples/cpp/proof.h"
#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/core/random_state.h"

using namespace gradwise;

namespace {

constexpr std::int64_t kFeatures = 12;

struct Problem {
  TensorFunction training;    // of the weights and the logarithm of the regularisation
  TensorFunction validation;  // of the weights
};

// dL/ds at weights that minimise the training loss.
double implicit_gradient(const Problem& problem, const at::Tensor& weights, const at::Tensor& strength) {
  const TensorFunction of_weights = [&](const Tensors& in) { return problem.training({in[0], strength}); };
  const auto product = [&](const at::Tensor& v) { return hvp(of_weights, {weights}, {v}).products.front(); };
  const at::Tensor solved = conjugate_gradients(product, grad(problem.validation)({weights}).front());
  // (∂g/∂s)·u is the derivative of g·u by s.
  const TensorFunction along = [&](const Tensors& in) {
    return Tensors{grad(problem.training)({weights, in[0]}).front().dot(solved)};
  };
  return -grad(along)({strength}).front().item<double>();
}

// Newton's method: the training.
at::Tensor trained(const Problem& problem, const at::Tensor& strength) {
  at::Tensor weights = at::zeros({kFeatures}, at::kDouble);
  for (int step = 0; step < 30; ++step) {
    const TensorFunction of_weights = [&](const Tensors& in) { return problem.training({in[0], strength}); };
    const auto product = [&](const at::Tensor& v) { return hvp(of_weights, {weights}, {v}).products.front(); };
    weights = weights.sub(conjugate_gradients(product, grad(of_weights)({weights}).front(), 1e-12));
  }
  return weights;
}

at::Tensor log_strength(double s) { return at::scalar_tensor(s, at::kDouble); }

void ridge_regression(Proof& proof) {
  const at::Tensor x = at::randn({40, kFeatures}, at::kDouble);
  const at::Tensor truth = at::randn({kFeatures}, at::kDouble);
  const at::Tensor y = x.mv(truth).add(at::randn({40}, at::kDouble));
  const at::Tensor test_x = at::randn({200, kFeatures}, at::kDouble);
  const at::Tensor test_y = test_x.mv(truth);
  const Problem problem{
      [&](const Tensors& in) {
        return Tensors{x.mv(in[0]).sub(y).pow(2).mean().mul(0.5).add(in[0].dot(in[0]).mul(in[1].exp()).mul(0.5))};
      },
      [&](const Tensors& in) { return Tensors{test_x.mv(in[0]).sub(test_y).pow(2).mean()}; }};
  const auto closed_form = [&](double s) {
    const at::Tensor matrix = x.t().matmul(x).div(40).add(at::eye(kFeatures, at::kDouble), std::exp(s));
    return at::linalg_solve(matrix, x.t().mv(y).div(40));
  };
  const auto loss_at = [&](double s) { return problem.validation({closed_form(s)}).front().item<double>(); };
  constexpr double kAt = -2;
  constexpr double kStep = 1e-5;
  const double found = implicit_gradient(problem, closed_form(kAt), log_strength(kAt));
  proof.equal("ridge regression", found, (loss_at(kAt + kStep) - loss_at(kAt - kStep)) / (2 * kStep), 1e-8);
}

void logistic_regression(Proof& proof) {
  const at::Tensor x = at::randn({60, kFeatures}, at::kDouble);
  const at::Tensor truth = at::randn({kFeatures}, at::kDouble);
  const auto signs_of = [&](const at::Tensor& in) {
    return in.mv(truth).add(at::randn({in.size(0)}, at::kDouble)).sign();
  };
  const at::Tensor y = signs_of(x);
  const at::Tensor test_x = at::randn({200, kFeatures}, at::kDouble);
  const at::Tensor test_y = signs_of(test_x);
  const Problem problem{
      [&](const Tensors& in) {
        return Tensors{at::softplus(x.mv(in[0]).mul(y).neg()).mean().add(in[0].dot(in[0]).mul(in[1].exp()).mul(0.5))};
      },
      [&](const Tensors& in) { return Tensors{at::softplus(test_x.mv(in[0]).mul(test_y).neg()).mean()}; }};
  const auto loss_at = [&](double s) {
    return problem.validation({trained(problem, log_strength(s))}).front().item<double>();
  };
  constexpr double kAt = -3;
  constexpr double kStep = 1e-4;
  const double found = implicit_gradient(problem, trained(problem, log_strength(kAt)), log_strength(kAt));
  proof.equal("logistic regression, trained again on both sides", found,
              (loss_at(kAt + kStep) - loss_at(kAt - kStep)) / (2 * kStep), 1e-7);
}

}  // namespace

int main() {
  seed_everything(0);
  Proof proof("Implicit differentiation: the validation loss by the logarithm of the regularisation");
  ridge_regression(proof);
  logistic_regression(proof);
  return proof.exit_code();
}
