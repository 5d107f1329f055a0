// Eigenpairs and condition numbers against dense decompositions, copies and ends of the space included.
#include "gradwise/curvature/eigenpairs.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/condition_number.h"
#include "tests/curvature/dense.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

struct EigenCase {
  std::string name;
  at::Tensor values;
  EigenOptions options;

  friend void PrintTo(const EigenCase& c, std::ostream* out) { *out << c.name; }
};

std::vector<EigenCase> eigen_cases() {
  const at::Tensor evenly = at::linspace(-1, 3, 150, at::kDouble);
  const at::Tensor copies =
      at::cat({at::full({3}, 5.0, at::kDouble), at::full({2}, -4.0, at::kDouble), at::linspace(0, 1, 95, at::kDouble)});
  const at::Tensor step = at::cat({at::ones({20}, at::kDouble), at::full({80}, 1e-3, at::kDouble)});
  return {{"upper", evenly, {.largest = 5}},
          {"lower", evenly, {.largest = 0, .smallest = 4}},
          {"both", evenly, {.largest = 3, .smallest = 2}},
          {"block", evenly, {.largest = 4, .smallest = 1, .block = 3}},
          {"narrow", evenly, {.largest = 2, .basis = 8}},
          {"tight", evenly, {.largest = 3, .tolerance = 1e-11}},
          {"copies", copies, {.largest = 4, .smallest = 3, .block = 3}},
          {"step", step, {.largest = 5, .smallest = 2}},
          {"step_block", step, {.largest = 4, .block = 3}},
          {"all", at::linspace(-2, 2, 7, at::kDouble), {.largest = 4, .smallest = 3}},
          {"one", at::full({1}, -3.0, at::kDouble), {.largest = 1}},
          {"zero", at::zeros({6}, at::kDouble), {.largest = 2}},
          {"rank_two",
           at::cat({at::full({1}, 5.0, at::kDouble), at::full({1}, 2.0, at::kDouble), at::zeros({8}, at::kDouble)}),
           {.largest = 3}}};
}

std::vector<EigenCase> by_lobpcg(std::vector<EigenCase> cases) {
  for (EigenCase& given : cases) {
    given.options.method = "lobpcg";
    given.options.basis = 0;
  }
  return cases;
}

class EigenpairsOf : public testing::TestWithParam<EigenCase> {};

TEST_P(EigenpairsOf, EqualTheDenseOnes) {
  const EigenCase& given = GetParam();
  const at::Tensor matrix = rotated(given.values);
  const at::Tensor exact = at::linalg_eigvalsh(matrix);
  const double size = exact.abs().max().item<double>();
  const Eigenpairs found = eigenpairs(Dense(matrix), given.options);
  const std::int64_t n = exact.numel();
  const std::int64_t wanted = given.options.largest + given.options.smallest;
  ASSERT_EQ(std::ssize(found.values), wanted);
  EXPECT_TRUE(found.converged);
  EXPECT_LE(found.products, given.options.products);
  for (std::int64_t i = 0; i < wanted; ++i) {
    const std::int64_t place = i < given.options.largest ? n - 1 - i : wanted - 1 - i;
    const auto index = static_cast<std::size_t>(i);
    EXPECT_NEAR(found.values[index], exact[place].item<double>(), 1e-9 * size);
    const at::Tensor v = found.vectors.select(1, i);
    const double residual = matrix.mv(v).sub(v, found.values[index]).norm().item<double>();
    EXPECT_NEAR(found.residuals[index], residual, 1e-12 * size + 1e-3 * residual);
    EXPECT_LE(residual, given.options.tolerance * size);
  }
  const at::Tensor gram = found.vectors.t().matmul(found.vectors);
  EXPECT_LE(gram.sub(at::eye(wanted, gram.options())).norm().item<double>(), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Lanczos, EigenpairsOf, testing::ValuesIn(eigen_cases()),
                         [](const auto& found) { return found.param.name; });
INSTANTIATE_TEST_SUITE_P(Lobpcg, EigenpairsOf, testing::ValuesIn(by_lobpcg(eigen_cases())),
                         [](const auto& found) { return found.param.name; });

TEST(Eigenpairs, SayWhereTheyDidNotGetThere) {
  const Dense matrix(rotated(at::linspace(0, 1, 300, at::kDouble)));
  const Eigenpairs found = eigenpairs(matrix, {.largest = 2, .tolerance = 1e-10, .products = 30});
  EXPECT_FALSE(found.converged);
  EXPECT_LE(found.products, 30);
  EXPECT_GT(found.residuals.front(), 1e-10);
}

TEST(Eigenpairs, AreTheSameForTheSameSeed) {
  const Dense matrix(rotated(at::linspace(0, 1, 80, at::kDouble)));
  const Eigenpairs first = eigenpairs(matrix, {.largest = 2, .seed = 5});
  const Eigenpairs again = eigenpairs(matrix, {.largest = 2, .seed = 5});
  EXPECT_TRUE(first.vectors.equal(again.vectors));
  EXPECT_EQ(first.values, again.values);
  EXPECT_FALSE(first.vectors.equal(eigenpairs(matrix, {.largest = 2, .seed = 6}).vectors));
}

class Leaning : public Dense {
 public:
  Leaning(const at::Tensor& matrix, at::Tensor direction) : Dense(matrix), direction_(std::move(direction)) {}
  [[nodiscard]] at::Tensor leaning() const override { return direction_; }

 private:
  at::Tensor direction_;
};

TEST(Eigenpairs, BeginWhereTheOperatorLeans) {
  const at::Tensor matrix = rotated(at::linspace(0, 1, 400, at::kDouble));
  const EigenOptions options{.largest = 1, .tolerance = 1e-8};
  const Eigenpairs cold = eigenpairs(Dense(matrix), options);
  const Eigenpairs warm = eigenpairs(Leaning(matrix, cold.vectors.select(1, 0).mul(1e3)), options);
  EXPECT_TRUE(warm.converged);
  EXPECT_LT(warm.products, cold.products);
  EXPECT_NEAR(warm.values[0], 1, 1e-8);
  // The eigenvector of 0 alone would be multiplied into nothing.
  const Eigenpairs low = eigenpairs(Dense(matrix), {.largest = 0, .smallest = 1, .tolerance = 1e-8});
  EXPECT_NEAR(eigenpairs(Leaning(matrix, low.vectors.select(1, 0)), options).values[0], 1, 1e-8);
  for (const double useless : {0.0, static_cast<double>(INFINITY), static_cast<double>(NAN)}) {
    EXPECT_EQ(eigenpairs(Leaning(matrix, at::full({400}, useless, at::kDouble)), options).values, cold.values);
  }
}

TEST(Eigenpairs, OfSinglePrecisionAreGoodToItsRounding) {
  const at::Tensor matrix = rotated(at::linspace(-1, 3, 100, at::kDouble));
  const Eigenpairs found = eigenpairs(Dense(matrix.to(at::kFloat)), {.largest = 3});
  EXPECT_TRUE(found.converged);
  EXPECT_NEAR(found.values[0], 3, 1e-5);
}

// A product in bfloat16 is off by 0.2 %: no reason to call the operator asymmetric, or to take that for convergence.
// Eigenvalues are 0.04 apart: within such a tolerance the second may stand for the first.
TEST(Eigenpairs, OfSixteenBitsAreGoodToTheirRounding) {
  const at::Tensor matrix = rotated(at::linspace(-1, 3, 100, at::kDouble));
  seed_everything(32);
  const at::Tensor crooked = at::randn({30, 30}, at::kDouble);
  for (const auto& [type, error] : {std::pair{at::kBFloat16, 0.07}, std::pair{at::kHalf, 0.065}}) {
    for (const std::string method : {"lanczos", "lobpcg"}) {
      for (std::int64_t seed = 0; seed < 10; ++seed) {
        for (const std::int64_t block : {1, 3}) {
          const Eigenpairs found = eigenpairs(
              Dense(matrix.to(type)), {.largest = 2, .smallest = 1, .block = block, .seed = seed, .method = method});
          EXPECT_NEAR(found.values[0], 3, error) << type << " " << method << " " << seed;
          EXPECT_NEAR(found.values[2], -1, error) << type << " " << method << " " << seed;
        }
      }
      EXPECT_ERROR_WITH("the operator is not symmetric",
                        eigenpairs(Dense(crooked.to(type)), {.block = 3, .method = method}));
    }
  }
}

// Those of the recurrence and those by products, also of a matrix that is symmetric within what is let pass alone.
TEST(Eigenpairs, ResidualsAreThoseOfProducts) {
  seed_everything(33);
  const at::Tensor symmetric = rotated(at::linspace(0, 1, 200, at::kDouble).pow(3));
  const at::Tensor noise = at::randn({200, 200}, at::kDouble);
  const at::Tensor skew = noise.sub(noise.t());
  for (const double part : {0.0, 5e-9}) {
    const at::Tensor matrix = symmetric.add(skew, part / skew.norm().item<double>());
    for (const double tolerance : {1e-2, 1e-5, 1e-8, 1e-9, 1e-10, 1e-12}) {
      const Eigenpairs found = eigenpairs(Dense(matrix), {.largest = 2, .tolerance = tolerance});
      for (std::int64_t i = 0; i < 2; ++i) {
        const at::Tensor vector = found.vectors.select(1, i);
        const auto at = static_cast<std::size_t>(i);
        const double residual = matrix.mv(vector).sub(vector.mul(found.values[at])).norm().item<double>();
        EXPECT_NEAR(found.residuals[at], residual, 0.02 * residual) << part << ", " << tolerance;
      }
    }
  }
}

TEST(Eigenpairs, RefuseWhatTheyCannotTake) {
  const Dense matrix(rotated(at::linspace(-1, 3, 30, at::kDouble)));
  EXPECT_ERROR_WITH("[eigenpairs] largest + smallest is 0, allowed: from 1 to 30", eigenpairs(matrix, {.largest = 0}));
  EXPECT_ERROR_WITH("[eigenpairs] largest + smallest is 31", eigenpairs(matrix, {.largest = 31}));
  EXPECT_ERROR_WITH("[eigenpairs] block is 0, allowed: >= 1", eigenpairs(matrix, {.block = 0}));
  EXPECT_ERROR_WITH("[eigenpairs] basis is 4, allowed: >= 5", eigenpairs(matrix, {.largest = 3, .basis = 4}));
  EXPECT_ERROR_WITH("[eigenpairs] products is 6, allowed: >= 7", eigenpairs(matrix, {.largest = 3, .products = 6}));
  EXPECT_ERROR_WITH("[eigenpairs] method is \"power\", allowed: lanczos, lobpcg",
                    eigenpairs(matrix, {.method = "power"}));
  EXPECT_ERROR_WITH("[eigenpairs] a preconditioner is given, and the method is \"lanczos\"",
                    eigenpairs(matrix, {.preconditioner = &matrix}));
  EXPECT_ERROR_WITH("[eigenpairs] the operator has no rows", eigenpairs(Dense(at::zeros({0, 0}, at::kDouble))));
  EXPECT_ERROR_WITH("a product with the matrix is not finite", eigenpairs(Dense(at::full({9, 9}, NAN, at::kDouble))));
  seed_everything(32);
  const Dense asymmetric(at::randn({30, 30}, at::kDouble));
  EXPECT_ERROR_WITH("[eigenpairs] the operator is not symmetric: u'Av is ", eigenpairs(asymmetric));
  EXPECT_ERROR_WITH("[eigenpairs] the operator is not symmetric", eigenpairs(asymmetric, {.block = 3}));
}

TEST(ConditionNumber, IsThatOfTheEnds) {
  const Dense matrix(rotated(at::linspace(1, 50, 120, at::kDouble)));
  const ConditionNumber found = condition_number(matrix);
  EXPECT_TRUE(found.converged);
  EXPECT_NEAR(found.value, 50, 1e-4);
  EXPECT_LE(found.low, 50 + 1e-9);
  EXPECT_GE(found.high, 50 - 1e-9);
  EXPECT_LT(found.high - found.low, 1e-3);
  EXPECT_NEAR(condition_number(matrix, 6).value, 8, 1e-4);
  EXPECT_NEAR(condition_number(Dense(at::full({1, 1}, 4.0, at::kDouble))).value, 1, 1e-12);
  const Dense indefinite(rotated(at::linspace(-1, 3, 30, at::kDouble)));
  EXPECT_ERROR_WITH("[condition_number] the smallest eigenvalue with the damping is -0.5",
                    condition_number(indefinite, 0.5));
  EXPECT_ERROR_WITH("[condition_number] damping is -1, allowed: >= 0", condition_number(matrix, -1));
}

}  // namespace
}  // namespace gradwise
