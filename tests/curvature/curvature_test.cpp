#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/hessian.h"
#include "gradwise/curvature/lanczos.h"
#include "tests/curvature/dense.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

at::Tensor symmetric(std::int64_t n) {
  seed_everything(3);
  const at::Tensor a = at::randn({n, n}, at::kDouble);
  return a.add(a.t());
}

double squared_error_of(const at::Tensor& w, const at::Tensor& x, const at::Tensor& y) {
  return at::mse_loss(x.matmul(w).tanh(), y).item<double>();
}

TEST(Lanczos, FindsTheEndsOfTheSpectrum) {
  const at::Tensor matrix = symmetric(60);
  const at::Tensor exact = at::linalg_eigvalsh(matrix);
  const LanczosResult found = lanczos(Dense(matrix), 3, {.steps = 60, .tolerance = 1e-9});
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(found.values[i], exact[59 - static_cast<std::int64_t>(i)].item<double>(), 1e-7);
    EXPECT_LE(found.errors[i], 1e-6);
  }
  EXPECT_NEAR(found.values.back(), exact[0].item<double>(), 1e-6);
}

TEST(Lanczos, BoundsItsErrors) {
  const at::Tensor matrix = symmetric(60);
  const at::Tensor exact = at::linalg_eigvalsh(matrix);
  const LanczosResult found = lanczos(Dense(matrix), 1, {.steps = 12});
  for (std::size_t i = 0; i < found.values.size(); ++i) {
    const double nearest = exact.sub(found.values[i]).abs().min().item<double>();
    EXPECT_LE(nearest, found.errors[i] * (1 + 1e-9) + 1e-9);
  }
}

TEST(Lanczos, EndsWhereTheSpaceDoes) {
  const at::Tensor rank_two = at::diag(at::stack({at::zeros({}, at::kDouble).add(5), at::zeros({}, at::kDouble).add(2),
                                                  at::zeros({}, at::kDouble), at::zeros({}, at::kDouble)}));
  const LanczosResult found = lanczos(Dense(rank_two), 2, {.steps = 40, .tolerance = 0});
  EXPECT_LE(found.products, 4);
  EXPECT_NEAR(found.values[0], 5, 1e-12);
  EXPECT_NEAR(found.values[1], 2, 1e-12);
}

TEST(Lanczos, WeightsAreAQuadrature) {
  const LanczosResult found = lanczos(Dense(symmetric(50)), 1, {.steps = 20, .tolerance = 0});
  double sum = 0;
  for (const double weight : found.weights) {
    sum += weight;
  }
  EXPECT_NEAR(sum, 1, 1e-12);
  double area = 0;
  const auto density = spectral_density({found});
  for (std::size_t i = 1; i < density.size(); ++i) {
    area += 0.5 * (density[i].second + density[i - 1].second) * (density[i].first - density[i - 1].first);
  }
  EXPECT_NEAR(area, 1, 0.02);
}

TEST(Hessian, EqualsFiniteDifferences) {
  seed_everything(5);
  const at::Tensor x = at::randn({7, 4}, at::kDouble);
  const at::Tensor y = at::randn({7, 2}, at::kDouble);
  const at::Tensor w = at::randn({4, 2}, at::kDouble).requires_grad_();
  Model model;
  model.parameters.add("w", w);
  model.forward = [w](const Batch& batch) { return batch.input.matmul(w).tanh(); };
  const Hessian hessian(model, [](const at::Tensor& o, const at::Tensor& t) { return at::mse_loss(o, t); }, x, y);
  const at::Tensor v = at::randn({8}, at::kDouble);
  const at::Tensor product = hessian.apply(v);
  constexpr double kStep = 1e-5;
  for (std::int64_t i = 0; i < 8; ++i) {
    at::Tensor e = at::zeros({8}, at::kDouble);
    e[i] = kStep;
    const at::Tensor base = w.detach();
    const auto along = [&](const at::Tensor& shift) {  // derivative along v at w + shift
      const at::Tensor d = v.mul(kStep).view({4, 2});
      const at::Tensor at_shift = base.add(shift.view({4, 2}));
      return (squared_error_of(at_shift.add(d), x, y) - squared_error_of(at_shift.sub(d), x, y)) / (2 * kStep);
    };
    EXPECT_NEAR(product[i].item<double>(), (along(e) - along(e.neg())) / (2 * kStep), 1e-4);
  }
  EXPECT_FALSE(w.grad().defined());
  EXPECT_ERROR_WITH("the vector has the shape [3], allowed: [8]", hessian.apply(at::zeros({3}, at::kDouble)));
}

TEST(Hessian, NeedsAScalarLossWithAGraph) {
  const at::Tensor w = at::randn({3, 3}).requires_grad_();
  Model model;
  model.parameters.add("w", w);
  model.forward = [w](const Batch& batch) { return batch.input.matmul(w); };
  const at::Tensor x = at::randn({2, 3});
  EXPECT_ERROR_WITH("the loss has 6 elements",
                    Hessian(model, [](const at::Tensor& o, const at::Tensor&) { return o; }, x, x));
  EXPECT_ERROR_WITH("the loss does not depend on any parameter",
                    Hessian(model, [](const at::Tensor& o, const at::Tensor&) { return o.detach().sum(); }, x, x));
  Model frozen = model;
  frozen.parameters = {};
  EXPECT_ERROR_WITH("no parameter of the model asks for a gradient",
                    Hessian(frozen, [](const at::Tensor& o, const at::Tensor&) { return o.sum(); }, x, x));
}

}  // namespace
}  // namespace gradwise
