#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/igamma.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/rand_like.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/core/random_state.h"
#include "gradwise/curvature/hessian.h"
#include "gradwise/curvature/lanczos.h"
#include "gradwise/curvature/spectral_density.h"
#include "tests/curvature/dense.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

at::Tensor symmetric(std::int64_t n) {
  seed_everything(3);
  const at::Tensor a = at::randn({n, n}, at::kDouble);
  return a.add(a.t());
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

TEST(Lanczos, SaysWhatItCannotTake) {
  const Dense matrix(symmetric(4));
  EXPECT_ERROR_WITH("[lanczos] wanted is 0, allowed: >= 1", lanczos(matrix, 0));
  EXPECT_ERROR_WITH("[lanczos] steps is 0, allowed: >= 1", lanczos(matrix, 1, {.steps = 0}));
  EXPECT_ERROR_WITH("the operator has no rows", lanczos(Dense(at::zeros({0, 0}, at::kDouble))));
  EXPECT_ERROR_WITH("a product with the matrix is not finite", lanczos(Dense(at::full({4, 4}, NAN, at::kDouble))));
  EXPECT_ERROR_WITH("[spectral_density] there is no run of Lanczos", spectral_density({}));
  EXPECT_ERROR_WITH("[spectral_density] run 1 has 0 values", spectral_density({lanczos(matrix), LanczosResult{}}));
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
    area += 0.5 * (density[i].density + density[i - 1].density) * (density[i].eigenvalue - density[i - 1].eigenvalue);
  }
  EXPECT_NEAR(area, 1, 0.02);
}

// Without reorthogonalisation the largest value, which converges early, would come back as ghosts.
TEST(Lanczos, StaysOrthogonalFor300StepsAndHasNoGhosts) {
  seed_everything(4);
  const std::int64_t n = 600;
  const at::Tensor rotation = std::get<0>(at::linalg_qr(at::randn({n, n}, at::kDouble)));
  const at::Tensor values = at::linspace(0, 1, n, at::kDouble).pow(3).mul(100);
  const at::Tensor matrix = rotation.mul(values).matmul(rotation.t());
  const LanczosResult found =
      lanczos(Dense(matrix.add(matrix.t()).div(2)), 1, {.steps = 300, .tolerance = 0, .keep_basis = true});
  ASSERT_EQ(found.products, 300);
  const at::Tensor gram = found.basis.matmul(found.basis.t());
  EXPECT_LE(gram.sub(at::eye(300, gram.options())).norm().item<double>(), 1e-12);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_NEAR(found.values[i], values[n - 1 - static_cast<std::int64_t>(i)].item<double>(), 1e-8);
  }
}

TEST(Lanczos, NoticesAnAsymmetricOperator) {
  seed_everything(6);
  EXPECT_ERROR_WITH("[lanczos] the operator is not symmetric: u'Av is ",
                    lanczos(Dense(at::randn({9, 9}, at::kDouble))));
}

TEST(SpectralDensity, HasABandAndTheAskedGrid) {
  const Dense matrix(symmetric(60));
  const std::vector<LanczosResult> runs = quadrature_runs(matrix, {.steps = 20, .vectors = 12});
  const std::vector<DensityPoint> density = spectral_density(runs, {.points = 50, .width = 0.1});
  ASSERT_EQ(density.size(), 50);
  // The exact density, widened alike, is within the band of 95 % at most points.
  const at::Tensor exact = at::linalg_eigvalsh(symmetric(60));
  const double range = density.back().eigenvalue - density.front().eigenvalue;
  const double width = 0.1 * range / 1.1;
  int held = 0;
  for (const DensityPoint& point : density) {
    const double true_density = exact.sub(point.eigenvalue).div(width).square().mul(-0.5).exp().mean().item<double>() /
                                (width * std::sqrt(2 * M_PI));
    held += std::abs(point.density - true_density) <= 2.201 * point.standard_error + 1e-6 ? 1 : 0;
  }
  EXPECT_GE(held, 30);  // of 50 points that depend on each other
  EXPECT_EQ(spectral_density({runs.front()})[0].standard_error, 0);
  EXPECT_ERROR_WITH("[spectral_density] points is 1, allowed: >= 2", spectral_density(runs, {.points = 1}));
  EXPECT_ERROR_WITH("[spectral_density] width is 0, allowed: > 0", spectral_density(runs, {.width = 0}));
}

// Quadrature is as exact by runs that keep no vectors, and share their products, as by runs that stay orthogonal.
TEST(Quadrature, IsThatOfOrthogonalRuns) {
  // Three outliers converge within a few steps, and come back.
  const at::Tensor bulk = at::linspace(0.5, 1, 197, at::kDouble);
  const at::Tensor values = at::cat({at::linspace(20, 30, 3, at::kDouble), bulk});
  const Dense matrix(rotated(values));
  const std::vector<LanczosResult> runs = quadrature_runs(matrix, {.steps = 40, .vectors = 35, .seed = 7});
  ASSERT_EQ(runs.size(), 35);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const LanczosResult orthogonal =
        lanczos(matrix, 1, {.steps = 40, .tolerance = 0, .seed = 7 + static_cast<std::int64_t>(i)});
    EXPECT_EQ(runs[i].products, orthogonal.products);
    const auto integral = [](const LanczosResult& run, const auto& function) {
      double sum = 0;
      for (std::size_t j = 0; j < run.values.size(); ++j) {
        sum += run.weights[j] * function(run.values[j]);
      }
      return sum;
    };
    const auto one = [](double /*value*/) { return 1.0; };
    const auto logarithm = [](double value) { return std::log(value); };
    const auto fourth = [](double value) { return std::pow(value, 4); };
    EXPECT_NEAR(integral(runs[i], one), 1, 1e-12);
    EXPECT_NEAR(integral(runs[i], logarithm), integral(orthogonal, logarithm), 1e-10);
    EXPECT_NEAR(integral(runs[i], fourth), integral(orthogonal, fourth), 1e-10 * integral(orthogonal, fourth));
  }
}

TEST(Quadrature, EndsWhereTheSpaceDoesAndNoticesAnAsymmetricOperator) {
  const at::Tensor two_values = at::cat({at::full({10}, 3.0, at::kDouble), at::full({20}, 1.0, at::kDouble)});
  for (const LanczosResult& run : quadrature_runs(Dense(rotated(two_values)), {.steps = 20, .vectors = 3})) {
    EXPECT_LE(run.products, 3);
    EXPECT_NEAR(run.values.front(), 3, 1e-6);
  }
  seed_everything(6);
  EXPECT_ERROR_WITH("the operator is not symmetric: u'Av is ", quadrature_runs(Dense(at::randn({9, 9}, at::kDouble))));
}

TEST(SpectralDensity, StopsAtTheTolerance) {
  const Dense matrix(symmetric(60));
  const SampledDensity rough = sampled_density(matrix, {.steps = 20, .vectors = 400, .tolerance = 0.5}, {.width = 0.1});
  const SampledDensity fine = sampled_density(matrix, {.steps = 20, .vectors = 400, .tolerance = 0.1}, {.width = 0.1});
  EXPECT_TRUE(rough.converged && fine.converged);
  EXPECT_LT(rough.samples, fine.samples);
  EXPECT_LT(fine.samples, 400);
  EXPECT_EQ(fine.products, 20 * fine.samples);
  double peak = 0;
  double widest = 0;
  for (const DensityPoint& point : fine.points) {
    peak = std::max(peak, point.density);
    widest = std::max(widest, point.standard_error);
  }
  EXPECT_LE(student_quantile(0.95, fine.samples - 1) * widest, 0.1 * peak);
  const SampledDensity whole = sampled_density(matrix, {.steps = 20, .vectors = 12}, {.width = 0.1});
  EXPECT_EQ(whole.samples, 12);
  EXPECT_TRUE(whole.converged);
  const SampledDensity short_of_it = sampled_density(matrix, {.steps = 5, .vectors = 12, .tolerance = 1e-4});
  EXPECT_FALSE(short_of_it.converged);
  EXPECT_EQ(short_of_it.samples, 12);
  EXPECT_ERROR_WITH("[quadrature] tolerance is -1, allowed: >= 0", sampled_density(matrix, {.tolerance = -1}));
}

TEST(LogDeterminant, StopsAtTheTolerance) {
  const at::Tensor matrix = symmetric(60);
  const at::Tensor definite = matrix.matmul(matrix.t()).div(60);
  const double exact = at::linalg_eigvalsh(definite).add(0.5).log().sum().item<double>();
  const Estimate rough = log_determinant(Dense(definite), 0.5, {.steps = 30, .vectors = 640, .tolerance = 0.3});
  const Estimate fine = log_determinant(Dense(definite), 0.5, {.steps = 30, .vectors = 640, .tolerance = 0.05});
  EXPECT_TRUE(rough.converged && fine.converged);
  EXPECT_LT(rough.products, fine.products);
  EXPECT_LT(fine.samples, 640);
  EXPECT_TRUE(within(fine, 0.05));
  EXPECT_NEAR(fine.value, exact, 0.1 * std::abs(exact));
  const Estimate short_of_it = log_determinant(Dense(definite), 0.5, {.vectors = 20, .tolerance = 1e-9});
  EXPECT_FALSE(short_of_it.converged);
  EXPECT_EQ(short_of_it.samples, 20);
}

TEST(LogDeterminant, IsWithinItsErrors) {
  const at::Tensor matrix = symmetric(60);
  const at::Tensor definite = matrix.matmul(matrix.t()).div(60);
  const double exact = at::linalg_eigvalsh(definite).add(0.5).log().sum().item<double>();
  const Estimate found = log_determinant(Dense(definite), 0.5, {.steps = 30, .vectors = 30});
  EXPECT_NEAR(found.value, exact, 4 * found.standard_error);
  EXPECT_LT(found.standard_error, 0.1 * std::abs(exact));
  EXPECT_EQ(found.products, 900);
  EXPECT_ERROR_WITH("[log_determinant] an eigenvalue with the damping is -", log_determinant(Dense(matrix), 0.5));
  EXPECT_ERROR_WITH("[log_determinant] damping is -1, allowed: >= 0", log_determinant(Dense(matrix), -1));
  EXPECT_ERROR_WITH("[quadrature] vectors is 1, allowed: >= 2", log_determinant(Dense(definite), 1, {.vectors = 1}));
}

TEST(Hessian, EqualsTheTransform) {
  seed_everything(5);
  const at::Tensor x = at::randn({7, 4}, at::kDouble);
  const at::Tensor y = at::randn({7, 2}, at::kDouble);
  const at::Tensor w = at::randn({4, 2}, at::kDouble).requires_grad_();
  Model model;
  model.parameters.add("w", w);
  model.forward = [w](const Batch& batch) { return batch.input.matmul(w).tanh(); };
  const Hessian matrix(model, [](const at::Tensor& o, const at::Tensor& t) { return at::mse_loss(o, t); }, x, y);
  const TensorFunction loss = [&](const Tensors& in) { return Tensors{at::mse_loss(x.matmul(in[0]).tanh(), y)}; };
  const at::Tensor full = hessian(loss)({w.detach()})[0].reshape({8, 8});
  const at::Tensor v = at::randn({8}, at::kDouble);
  EXPECT_TRUE(matrix.apply(v).allclose(full.mv(v), 1e-10, 1e-12));
  EXPECT_TRUE(matrix.gradient().allclose(grad(loss)({w.detach()})[0].flatten(), 1e-10, 1e-12));
  EXPECT_FALSE(w.grad().defined());
  EXPECT_ERROR_WITH("the vector has the shape [3], allowed: [8]", matrix.apply(at::zeros({3}, at::kDouble)));
}

TEST(Hessian, LeavesBuffersAndRandomState) {
  const at::Tensor w = at::randn({3, 3}).requires_grad_();
  const at::Tensor count = at::zeros({1});
  Model model;
  model.parameters.add("w", w);
  model.buffers.add("count", count);
  model.forward = [w, count](const Batch& batch) {
    count.add_(1);
    return batch.input.matmul(w);
  };
  const at::Tensor x = at::randn({2, 3});
  const LossFunction random = [](const at::Tensor& o, const at::Tensor&) {
    return o.square().mul(at::rand_like(o)).sum();
  };
  seed_everything(1);
  const double untouched = at::randn({1}).item<double>();
  seed_everything(1);
  const Hessian made(model, random, std::vector<Batch>{{x, x, {}}}, {.check_deterministic = false});
  EXPECT_EQ(at::randn({1}).item<double>(), untouched);
  EXPECT_EQ(count.item<double>(), 0);
  seed_everything(1);
  EXPECT_ERROR_WITH("[hessian] the loss is not deterministic", Hessian(model, random, x, x));
  EXPECT_EQ(at::randn({1}).item<double>(), untouched);
  EXPECT_EQ(count.item<double>(), 0);

  const LossFunction broken = [](const at::Tensor& o, const at::Tensor&) -> at::Tensor {
    (void)at::rand_like(o);
    throw std::runtime_error("passing");
  };
  seed_everything(1);
  EXPECT_THROW(Hessian(model, broken, x, x), std::runtime_error);
  EXPECT_EQ(at::randn({1}).item<double>(), untouched);
  EXPECT_EQ(count.item<double>(), 0);
}

// Its slope has no formula for its own derivative.
class DifferentiableOnce : public torch::autograd::Function<DifferentiableOnce> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x) {
    context->save_for_backward({x});
    return x.square();
  }
  static Tensors backward(torch::autograd::AutogradContext* context, const Tensors& grads) {
    const at::Tensor x = context->get_saved_variables()[0];
    return {grads[0].mul(at::igamma(x.square().add(1), at::ones_like(x)))};
  }
};

TEST(Hessian, NamesAnOperatorWithoutASecondDerivative) {
  const at::Tensor w = at::randn({3}, at::kDouble).requires_grad_();
  Model model;
  model.parameters.add("w", w);
  model.forward = [w](const Batch&) { return DifferentiableOnce::apply(w); };
  const at::Tensor x = at::zeros({3}, at::kDouble);
  const Hessian matrix(model, [](const at::Tensor& o, const at::Tensor&) { return o.sum(); }, x, x);
  EXPECT_ERROR_WITH("[hessian] an operator of the model or the loss can't be differentiated as often as this takes",
                    matrix.apply(x));
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
