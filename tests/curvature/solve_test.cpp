// Inverse-vector products against dense solutions.
#include "gradwise/curvature/solve.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_pinv.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/function_operator.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

constexpr std::int64_t kRows = 90;

at::Tensor of_spectrum(const at::Tensor& values) {
  seed_everything(41);
  const at::Tensor q = std::get<0>(at::linalg_qr(at::randn({values.numel(), values.numel()}, at::kDouble)));
  const at::Tensor full = q.mul(values).matmul(q.t());
  return full.add(full.t()).div(2);
}

at::Tensor right_hand() { return at::linspace(-1, 2, kRows, at::kDouble).sin(); }

TEST(ConjugateGradients, EqualTheDenseSolution) {
  const at::Tensor matrix = of_spectrum(at::linspace(0.5, 30, kRows, at::kDouble));
  for (const double damping : {0.0, 2.0}) {
    const at::Tensor damped = matrix.add(at::eye(kRows, matrix.options()), damping);
    const Solution found =
        conjugate_gradients(MatrixOperator(matrix), right_hand(), {.tolerance = 1e-10, .damping = damping});
    EXPECT_TRUE(found.converged);
    EXPECT_LT(found.iterations, 100);
    EXPECT_EQ(found.products, found.iterations + 1);
    EXPECT_TRUE(found.x.allclose(at::linalg_solve(damped, right_hand()), 1e-8, 1e-10));
    const double residual =
        right_hand().sub(damped.mv(found.x)).norm().item<double>() / right_hand().norm().item<double>();
    EXPECT_NEAR(found.residual, residual, 1e-13);
  }
}

TEST(ConjugateGradients, SayWhereTheyDidNotGetThereAndWhatTheyCannotTake) {
  const MatrixOperator definite(of_spectrum(at::linspace(0.01, 30, kRows, at::kDouble)));
  const Solution found = conjugate_gradients(definite, right_hand(), {.tolerance = 1e-12, .products = 10});
  EXPECT_FALSE(found.converged);
  EXPECT_EQ(found.products, 10);
  EXPECT_GT(found.residual, 1e-12);
  const Solution zero = conjugate_gradients(definite, at::zeros({kRows}, at::kDouble));
  EXPECT_TRUE(zero.converged);
  EXPECT_EQ(zero.x.abs().max().item<double>(), 0);
  const MatrixOperator negative(at::eye(kRows, at::kDouble).mul(-3));
  EXPECT_ERROR_WITH(
      "[conjugate_gradients] the curvature p'(A + damping I)p / p'p is -2 along direction 1, allowed: > 0",
      conjugate_gradients(negative, right_hand(), {.damping = 1}));
  EXPECT_ERROR_WITH("[conjugate_gradients] b has the shape [3], allowed: [90]",
                    conjugate_gradients(definite, at::zeros({3}, at::kDouble)));
  EXPECT_ERROR_WITH("b has elements that are not finite", conjugate_gradients(definite, at::full({kRows}, NAN)));
  EXPECT_ERROR_WITH("[conjugate_gradients] damping is -1, allowed: >= 0",
                    conjugate_gradients(definite, right_hand(), {.damping = -1}));
  const at::Tensor skewed = at::eye(kRows, at::kDouble).mul(30).add(at::randn({kRows, kRows}, at::kDouble));
  const FunctionOperator asymmetric([skewed](const at::Tensor& v) { return skewed.mv(v); }, kRows, skewed.options());
  EXPECT_ERROR_WITH("[conjugate_gradients] the operator is not symmetric",
                    conjugate_gradients(asymmetric, right_hand()));
  EXPECT_ERROR_WITH("[lsmr] the operator is not symmetric", lsmr(asymmetric, right_hand()));
}

TEST(Lsmr, EqualsTheDenseLeastSquares) {
  const at::Tensor indefinite = at::linspace(-2, 3, kRows, at::kDouble);
  const at::Tensor singular = at::cat({at::zeros({20}, at::kDouble), at::linspace(1, 4, kRows - 20, at::kDouble)});
  for (const at::Tensor& values : {indefinite, singular}) {
    const at::Tensor matrix = of_spectrum(values);
    for (const double damping : {0.0, 0.5}) {
      const Solution found =
          lsmr(MatrixOperator(matrix), right_hand(), {.tolerance = 1e-11, .products = 2000, .damping = damping});
      at::Tensor expected;
      if (damping == 0) {
        expected = at::linalg_pinv(matrix, /*rcond=*/1e-9).mv(right_hand());
      } else {
        const at::Tensor normal = matrix.matmul(matrix).add(at::eye(kRows, matrix.options()), damping * damping);
        expected = at::linalg_solve(normal, matrix.mv(right_hand()));
      }
      EXPECT_TRUE(found.converged);
      EXPECT_LE(found.x.sub(expected).norm().item<double>(), 1e-6 * expected.norm().item<double>());
      const at::Tensor rest = right_hand().sub(matrix.mv(found.x));
      EXPECT_NEAR(found.residual, rest.norm().item<double>() / right_hand().norm().item<double>(), 1e-12);
      EXPECT_LE(found.products, 2000);
    }
  }
  const Solution nothing = lsmr(MatrixOperator(at::zeros({kRows, kRows}, at::kDouble)), right_hand());
  EXPECT_TRUE(nothing.converged);
  EXPECT_EQ(nothing.x.abs().max().item<double>(), 0);
}

TEST(Operators, FromFunctionsAndMatricesSayWhatTheyCannotTake) {
  const auto half = [](const at::Tensor& v) { return v.narrow(0, 0, 1); };
  const FunctionOperator short_one(half, 3, at::kDouble);
  EXPECT_ERROR_WITH("[function_operator] the product has the shape [1], allowed: [3]",
                    short_one.apply(at::zeros({3}, at::kDouble)));
  EXPECT_ERROR_WITH("[function_operator] size is -1, allowed: >= 0", FunctionOperator(half, -1, at::kDouble));
  EXPECT_ERROR_WITH("[function_operator] the type is ", FunctionOperator(half, 3, at::kLong));
  EXPECT_ERROR_WITH("[matrix_operator] the matrix has the shape [2, 3], allowed: square",
                    MatrixOperator(at::zeros({2, 3}, at::kDouble)));
  const at::Tensor corner = at::zeros({2, 2}, at::kDouble);
  corner[0][1].fill_(1);
  EXPECT_ERROR_WITH("[matrix_operator] the operator is not symmetric", (MatrixOperator(corner)));
}

}  // namespace
}  // namespace gradwise
