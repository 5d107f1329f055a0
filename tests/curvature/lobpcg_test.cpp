// What LOBPCG alone does: a preconditioner, clusters in a block, products by columns. Its values, ends and copies are
// tested with those of Lanczos.
#include "gradwise/curvature/lobpcg.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/logspace.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <vector>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/function_operator.h"
#include "tests/curvature/dense.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

// Notes how many columns each call has.
class Counting : public MatrixOperator {
 public:
  using MatrixOperator::MatrixOperator;
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override {
    calls.push_back(1);
    return MatrixOperator::apply(vector);
  }
  [[nodiscard]] at::Tensor apply_columns(const at::Tensor& columns) const override {
    calls.push_back(columns.size(1));
    return MatrixOperator::apply_columns(columns);
  }
  mutable std::vector<std::int64_t> calls;
};

TEST(Lobpcg, FindsAClusterAndTellsItsMembers) {
  const at::Tensor cluster = at::full({3}, 2.0, at::kDouble).add(at::arange(3, at::kDouble), 1e-9);
  const at::Tensor values = at::cat({at::linspace(-1, 1, 150, at::kDouble), cluster, at::full({1}, 3.0, at::kDouble)});
  const at::Tensor matrix = rotated(values);
  const Eigenpairs found = eigenpairs(Dense(matrix), {.largest = 4, .tolerance = 1e-10, .method = "lobpcg"});
  EXPECT_TRUE(found.converged);
  const at::Tensor exact = at::linalg_eigvalsh(matrix);
  for (std::int64_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(found.values[static_cast<std::size_t>(i)], exact[-1 - i].item<double>(), 1e-12);
  }
}

TEST(Lobpcg, FindsWhatLanczosFinds) {
  const Dense matrix(rotated(at::cat({at::linspace(-0.3, 0.3, 180, at::kDouble), at::linspace(1, 9, 9, at::kDouble),
                                      at::linspace(-4, -2, 3, at::kDouble)})));
  const Eigenpairs lanczos = eigenpairs(matrix, {.largest = 4, .smallest = 2, .tolerance = 1e-9});
  const Eigenpairs found =
      eigenpairs(matrix, {.largest = 4, .smallest = 2, .tolerance = 1e-9, .seed = 3, .method = "lobpcg"});
  ASSERT_TRUE(found.converged);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(found.values[i], lanczos.values[i], 1e-10);
  }
  const at::Tensor cosines = found.vectors.t().matmul(lanczos.vectors).abs();
  EXPECT_LE(cosines.sub(at::eye(6, cosines.options())).abs().max().item<double>(), 1e-6);
  const Eigenpairs again =
      eigenpairs(matrix, {.largest = 4, .smallest = 2, .tolerance = 1e-9, .seed = 3, .method = "lobpcg"});
  EXPECT_TRUE(again.vectors.equal(found.vectors));
  const Eigenpairs loose =
      eigenpairs(matrix, {.largest = 4, .tolerance = 1e-3, .tolerance_of = "value", .method = "lobpcg"});
  EXPECT_TRUE(loose.converged);
  EXPECT_LT(loose.products, found.products);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(loose.values[i], lanczos.values[i], loose.errors[i] + 1e-9);
  }
}

TEST(Lobpcg, TakesFewerProductsWithAPreconditioner) {
  seed_everything(33);
  const at::Tensor diagonal = at::logspace(-2, 4, 300, 10, at::kDouble);
  const at::Tensor noise = at::randn({300, 300}, at::kDouble).mul(1e-3);
  const at::Tensor matrix = at::diag(diagonal).add(noise).add(noise.t());
  const FunctionOperator inverse([diagonal](const at::Tensor& v) { return v.div(diagonal); }, 300, diagonal.options());
  EigenOptions options{.largest = 0, .smallest = 3, .tolerance = 1e-9, .products = 2000, .method = "lobpcg"};
  const Eigenpairs without = eigenpairs(Dense(matrix), options);
  options.preconditioner = &inverse;
  const Eigenpairs found = eigenpairs(Dense(matrix), options);
  EXPECT_TRUE(found.converged);
  EXPECT_FALSE(without.converged);
  EXPECT_LT(found.products, 200);
  EXPECT_LE(without.products, 2000);
  const at::Tensor exact = at::linalg_eigvalsh(matrix);
  for (std::int64_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(found.values[static_cast<std::size_t>(i)], exact[2 - i].item<double>(), 1e-7);
  }
}

// The inverse in float32 of a matrix of condition number 1e9: along the largest eigenvectors it is less than its
// rounding, and negative where that is.
TEST(Lobpcg, TakesAPreconditionerThatIsNegativeByRoundingAlone) {
  const at::Tensor values = at::logspace(-5, 4, 100, 10, at::kDouble);
  const Dense inverse(rotated(values.reciprocal()).to(at::kFloat));
  for (std::int64_t seed = 0; seed < 3; ++seed) {
    const Eigenpairs found = eigenpairs(Dense(rotated(values)), {.largest = 0,
                                                                 .smallest = 1,
                                                                 .tolerance = 1e-7,
                                                                 .products = 400,
                                                                 .seed = seed,
                                                                 .method = "lobpcg",
                                                                 .preconditioner = &inverse});
    EXPECT_TRUE(found.converged);
    EXPECT_NEAR(found.values[0], 1e-5, 1e-9);
  }
  // What is left of a projector onto the first coordinate, within the rounding of float64 and beyond.
  const Dense matrix(rotated(at::linspace(-1, 3, 30, at::kDouble)));
  at::Tensor projector = at::full({30}, -1e-13, at::kDouble);
  projector[0] = 1;
  const Dense rounded(at::diag(projector));
  EXPECT_LE(eigenpairs(matrix, {.products = 60, .method = "lobpcg", .preconditioner = &rounded}).products, 60);
  projector.narrow(0, 1, 29).fill_(-1e-6);
  const Dense negative(at::diag(projector));
  EXPECT_ERROR_WITH("the preconditioner is not positive definite",
                    eigenpairs(matrix, {.products = 60, .method = "lobpcg", .preconditioner = &negative}));
}

TEST(Lobpcg, MultipliesColumnsTogetherAndThoseAloneThatHaveNotConverged) {
  const at::Tensor values = at::cat({at::linspace(0, 1, 150, at::kDouble), at::full({1}, 1.02, at::kDouble),
                                     at::full({1}, 30.0, at::kDouble), at::full({1}, 50.0, at::kDouble)});
  const Counting matrix(rotated(values));
  const Eigenpairs found = eigenpairs(matrix, {.largest = 3, .tolerance = 1e-7, .method = "lobpcg"});
  EXPECT_TRUE(found.converged);
  ASSERT_GT(matrix.calls.size(), 4U);
  std::int64_t products = 0;
  for (const std::int64_t columns : matrix.calls) {
    products += columns;
  }
  EXPECT_EQ(products, found.products);
  EXPECT_EQ(matrix.calls.front(), 7);  // the three and four beside them
  EXPECT_EQ(matrix.calls[1], 3);
  EXPECT_EQ(matrix.calls[matrix.calls.size() - 2], 1);
  EXPECT_EQ(matrix.calls.back(), 3);  // the residuals that are told
}

TEST(Lobpcg, RefusesWhatItCannotTake) {
  const Dense matrix(rotated(at::linspace(-1, 3, 30, at::kDouble)));
  const auto find = [&matrix](EigenOptions options) {
    options.method = "lobpcg";
    return eigenpairs(matrix, options);
  };
  EXPECT_ERROR_WITH("[eigenpairs] largest + smallest is 0, allowed: from 1 to 30", find({.largest = 0}));
  EXPECT_ERROR_WITH("[eigenpairs] basis is 9, allowed with lobpcg: 0", find({.basis = 9}));
  EXPECT_ERROR_WITH("[eigenpairs] products is 9, allowed: >= 10", find({.largest = 3, .products = 9}));
  const Dense small(at::eye(29, at::kDouble));
  EXPECT_ERROR_WITH("[eigenpairs] the preconditioner has 29 rows, allowed: 30", find({.preconditioner = &small}));
  const Dense negative(at::eye(30, at::kDouble).neg());
  EXPECT_ERROR_WITH("[eigenpairs] the preconditioner is not positive definite: r'Tr / r'r is -",
                    find({.preconditioner = &negative}));
  seed_everything(32);
  EXPECT_ERROR_WITH("[eigenpairs] the operator is not symmetric: u'Av is ",
                    eigenpairs(Dense(at::randn({30, 30}, at::kDouble)), {.method = "lobpcg"}));
}

}  // namespace
}  // namespace gradwise
