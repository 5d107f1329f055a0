// Estimators of traces and diagonals against matrices that are there in full, on spectra of the XTrace paper.
#include "gradwise/curvature/trace.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/diag.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/random_vectors.h"
#include "tests/curvature/dense.h"
#include "tests/curvature/spectra.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

struct TraceCase {
  std::string name;
  std::function<Estimate(const LinearOperator&, const TraceOptions&)> estimate;
  std::string spectrum;

  friend void PrintTo(const TraceCase& c, std::ostream* out) { *out << c.name << " of " << c.spectrum; }
};

std::vector<TraceCase> trace_cases() {
  std::vector<TraceCase> all;
  for (const char* spectrum : {"flat", "poly", "exp", "step"}) {
    all.push_back({"hutchinson", hutchinson_trace, spectrum});
    all.push_back({"hutch_plus_plus", hutch_plus_plus, spectrum});
    all.push_back({"xtrace", xtrace, spectrum});
    all.push_back({"xnystrace", xnystrace, spectrum});
  }
  return all;
}

class Traces : public testing::TestWithParam<TraceCase> {};

TEST_P(Traces, AreUnbiasedAndKnowTheirErrors) {
  const at::Tensor values = spectrum(GetParam().spectrum);
  const Dense matrix(with_eigenvalues(values));
  const double exact = values.sum().item<double>();
  constexpr int kTrials = 200;
  double sum = 0;
  double squares = 0;
  double claimed = 0;
  for (int seed = 0; seed < kTrials; ++seed) {
    const Estimate found = GetParam().estimate(matrix, {.products = 30, .seed = seed});
    EXPECT_LE(found.products, 30);
    const double error = found.value - exact;
    sum += error;
    squares += error * error;
    claimed += found.standard_error * found.standard_error;
  }
  const double rms = std::sqrt(squares / kTrials);
  EXPECT_LE(std::abs(sum / kTrials), 4 * rms / std::sqrt(kTrials) + 1e-12 * exact);
  // 200 squares tell a deviation to 5 %, and to 15 % where they are as spread as on a steep spectrum.
  const double told = std::sqrt(claimed / kTrials);
  EXPECT_GT(told, 0.75 * rms);
  EXPECT_LT(told, 1.5 * rms + 1e-12 * exact);
}

INSTANTIATE_TEST_SUITE_P(OnSpectra, Traces, testing::ValuesIn(trace_cases()),
                         [](const auto& info) { return info.param.name + "_" + info.param.spectrum; });

double rms_error(const TraceCase& test_case, const Dense& matrix, double exact) {
  double squares = 0;
  for (int seed = 0; seed < 100; ++seed) {
    squares += std::pow(test_case.estimate(matrix, {.products = 60, .seed = seed}).value - exact, 2);
  }
  return std::sqrt(squares / 100);
}

// Figure 1 of the paper: where the spectrum falls steeply, each is orders of magnitude better than the one before.
TEST(Traces, ImproveFromHutchinsonToXNysTrace) {
  const at::Tensor values = spectrum("exp");
  const Dense matrix(with_eigenvalues(values));
  const double exact = values.sum().item<double>();
  const std::vector<TraceCase> all = trace_cases();
  std::vector<double> errors;
  for (std::size_t i = 0; i < 4; ++i) {
    errors.push_back(rms_error(all[i], matrix, exact));
  }
  EXPECT_LT(errors[1], 0.1 * errors[0]);
  EXPECT_LT(errors[2], 0.1 * errors[1]);
  EXPECT_LT(errors[3], 0.1 * errors[2]);
}

TEST(Traces, StopAtTheTolerance) {
  const at::Tensor values = spectrum("slow exp");
  const Dense matrix(with_eigenvalues(values));
  const double exact = values.sum().item<double>();
  for (const auto& estimate : {hutch_plus_plus, xtrace, xnystrace}) {
    const Estimate rough = estimate(matrix, {.products = 1000, .tolerance = 0.2});
    const Estimate fine = estimate(matrix, {.products = 1000, .tolerance = 1e-3});
    EXPECT_TRUE(rough.converged && fine.converged);
    EXPECT_LT(rough.products, fine.products);
    EXPECT_LT(fine.products, 3 * kSize);
    EXPECT_NEAR(rough.value, exact, 0.4 * exact);
    EXPECT_NEAR(fine.value, exact, 2e-3 * exact);
    EXPECT_TRUE(within(fine, 1e-3));
  }
  const Estimate short_of_it = hutchinson_trace(matrix, {.products = 30, .tolerance = 1e-6});
  EXPECT_FALSE(short_of_it.converged);
  EXPECT_EQ(short_of_it.products, 30);
  EXPECT_EQ(xnystrace(matrix, {.products = 1000, .tolerance = 1e-12}).products, kSize);
}

// Growing keeps what was there: the sketch of all vectors is that of the same vectors at once.
TEST(Traces, OfLowRankEndWhereTheRankIsSeen) {
  seed_everything(23);
  const at::Tensor a = at::randn({kSize, 12}, at::kDouble);
  const at::Tensor full = a.matmul(a.t());
  const double exact = full.trace().item<double>();
  const Estimate found = xtrace(Dense(full), {.products = 200, .tolerance = 1e-9});
  EXPECT_NEAR(found.value, exact, 1e-9 * exact);
  EXPECT_EQ(found.products, 40);
  EXPECT_TRUE(found.converged);
}

TEST(Traces, OfLowRankAreExact) {
  seed_everything(18);
  const at::Tensor a = at::randn({kSize, 5}, at::kDouble);
  const at::Tensor full = a.matmul(a.t());
  const Dense matrix(full);
  const double exact = full.trace().item<double>();
  const Estimate x = xtrace(matrix, {.products = 20});
  EXPECT_NEAR(x.value, exact, 1e-9 * exact);
  EXPECT_LE(x.standard_error, 1e-9 * exact);
  EXPECT_NEAR(xnystrace(matrix, {.products = 20}).value, exact, 1e-7 * exact);
  EXPECT_NEAR(hutch_plus_plus(matrix, {.products = 30}).value, exact, 1e-9 * exact);
}

TEST(Traces, OfLowRankAreExactInSinglePrecisionToo) {
  seed_everything(19);
  const at::Tensor a = at::randn({kSize, 5}, at::kDouble);
  const at::Tensor full = a.matmul(a.t());
  const Dense matrix(full.to(at::kFloat));
  const double exact = full.trace().item<double>();
  EXPECT_NEAR(xtrace(matrix, {.products = 20}).value, exact, 1e-4 * exact);
  EXPECT_NEAR(xnystrace(matrix, {.products = 20}).value, exact, 1e-3 * exact);
}

TEST(Traces, OfZeroAreZero) {
  const Dense zero(at::zeros({8, 8}, at::kDouble));
  for (const auto& estimate : {hutchinson_trace, hutch_plus_plus, xtrace, xnystrace}) {
    const Estimate found = estimate(zero, {.products = 6});
    EXPECT_EQ(found.value, 0);
    EXPECT_EQ(found.standard_error, 0);
  }
}

TEST(Traces, MakeNoMoreProductsThanTellThemSomething) {
  seed_everything(20);
  const at::Tensor a = at::randn({10, 10}, at::kDouble);
  const at::Tensor full = a.matmul(a.t());
  const double exact = full.trace().item<double>();
  const auto expect = [exact](const Estimate& found, std::int64_t most) {
    EXPECT_NEAR(found.value, exact, 1e-5 * exact);
    EXPECT_EQ(found.products, most);
  };
  expect(hutch_plus_plus(Dense(full)), 20);
  expect(xtrace(Dense(full)), 20);
  expect(xnystrace(Dense(full)), 10);
  EXPECT_NEAR(xnystrace(Dense(at::full({1, 1}, 3.0, at::kDouble))).value, 3, 1e-9);
}

TEST(Traces, AreTheSameForTheSameSeedAndDoNotTouchTheGlobalGenerator) {
  const Dense matrix(with_eigenvalues(spectrum("flat")));
  seed_everything(1);
  const double untouched = at::randn({1}).item<double>();
  seed_everything(1);
  const double first = xtrace(matrix, {.products = 10, .seed = 3}).value;
  EXPECT_EQ(at::randn({1}).item<double>(), untouched);
  EXPECT_EQ(xtrace(matrix, {.products = 10, .seed = 3}).value, first);
  EXPECT_NE(xtrace(matrix, {.products = 10, .seed = 4}).value, first);
}

// As many at a time as memory allows: how many must not show in the figure. 70 vectors take three visits, one takes 1.
TEST(Traces, OfHutchinsonAreTheMeanOverTheVectorsOneByOne) {
  const at::Tensor matrix = with_eigenvalues(spectrum("flat"));
  const Dense dense(matrix);
  RandomVectors random(dense, 5);
  const at::Tensor signs = random.signs_in_turn(3);
  EXPECT_TRUE(signs.equal(at::cat({RandomVectors(dense, 5).signs_in_turn(1), signs.narrow(1, 1, 2)}, 1)));
  const at::Tensor all = RandomVectors(dense, 5).signs_in_turn(70);
  EXPECT_TRUE(all.narrow(1, 0, 3).equal(signs));
  const at::Tensor products = matrix.matmul(all);
  const at::Tensor samples = all.mul(products).sum(0);
  const Estimate trace = hutchinson_trace(dense, {.products = 70, .seed = 5});
  EXPECT_NEAR(trace.value, samples.mean().item<double>(), 1e-9);
  EXPECT_NEAR(trace.standard_error, samples.std().item<double>() / std::sqrt(70.0), 0.3 * trace.standard_error);
  EXPECT_EQ(trace.products, 70);
  const Estimate norm = frobenius_norm(dense, {.products = 70, .seed = 5});
  EXPECT_NEAR(norm.value, std::sqrt(products.square().sum(0).mean().item<double>()), 1e-9);
  const DiagonalEstimate diagonal = hutchinson_diagonal(dense, {.products = 70, .seed = 5});
  EXPECT_TRUE(diagonal.values.allclose(all.mul(products).mean(1), 1e-10, 1e-10));
}

TEST(Diagonal, IsUnbiasedWithinItsErrors) {
  const at::Tensor matrix = with_eigenvalues(spectrum("flat"));
  const DiagonalEstimate found = hutchinson_diagonal(Dense(matrix), {.products = 400});
  const at::Tensor scores = found.values.sub(matrix.diag()).div(found.standard_errors);
  EXPECT_NEAR(scores.square().mean().sqrt().item<double>(), 1, 0.25);  // of 120 scores
  const at::Tensor diagonal = at::diag(spectrum("flat"));
  EXPECT_TRUE(hutchinson_diagonal(Dense(diagonal), {.products = 2}).values.allclose(diagonal.diag()));
}

TEST(Diagonal, OfXDiagIsUnbiasedWithinItsErrorsAndNearer) {
  const at::Tensor matrix = with_eigenvalues(spectrum("slow exp"));
  double squares = 0;
  double told = 0;
  double held = 0;
  double plain = 0;
  for (int seed = 0; seed < 30; ++seed) {
    const DiagonalEstimate found = xdiag(Dense(matrix), {.products = 60, .seed = seed});
    const at::Tensor error = found.values.sub(matrix.diag());
    squares += error.square().sum().item<double>();
    told += found.standard_errors.square().sum().item<double>();
    held += error.abs().le(found.standard_errors.mul(student_quantile(0.95, found.samples - 1))).sum().item<double>();
    plain += hutchinson_diagonal(Dense(matrix), {.products = 60, .seed = seed})
                 .values.sub(matrix.diag())
                 .square()
                 .sum()
                 .item<double>();
  }
  EXPECT_NEAR(std::sqrt(told / squares), 1, 0.2);
  EXPECT_NEAR(held / (30 * kSize), 0.95, 0.03);
  EXPECT_LT(std::sqrt(squares), 0.3 * std::sqrt(plain));
}

TEST(Diagonal, StopsAtTheToleranceAndIsExactWhereTheRankIsLow) {
  const at::Tensor matrix = with_eigenvalues(spectrum("slow exp"));
  const DiagonalEstimate found = xdiag(Dense(matrix), {.products = 400, .tolerance = 0.01});
  EXPECT_TRUE(found.converged);
  EXPECT_LT(found.products, 2 * kSize);
  EXPECT_LE(found.values.sub(matrix.diag()).norm().item<double>(), 0.02 * matrix.diag().norm().item<double>());
  seed_everything(21);
  const at::Tensor a = at::randn({kSize, 5}, at::kDouble);
  const at::Tensor low_rank = a.matmul(a.t());
  const DiagonalEstimate exact = xdiag(Dense(low_rank), {.products = 20});
  EXPECT_TRUE(exact.values.allclose(low_rank.diag(), 1e-9, 1e-9));
  EXPECT_EQ(exact.standard_errors.max().item<double>(), 0);
}

TEST(FrobeniusNorm, IsWithinItsErrors) {
  const at::Tensor matrix = with_eigenvalues(spectrum("flat"));
  const Estimate found = frobenius_norm(Dense(matrix), {.products = 300});
  EXPECT_NEAR(found.value, matrix.norm().item<double>(), 4 * found.standard_error);
  EXPECT_LT(found.standard_error, 0.02 * found.value);
  EXPECT_EQ(frobenius_norm(Dense(at::zeros({4, 4}, at::kDouble))).value, 0);
  EXPECT_LT(frobenius_norm(Dense(matrix), {.products = 1000, .tolerance = 0.05}).products, 100);
}

TEST(Traces, RefuseWhatTheyCannotTake) {
  const Dense matrix(with_eigenvalues(spectrum("flat")));
  EXPECT_ERROR_WITH("[xtrace] products is 3, allowed: >= 4", xtrace(matrix, {.products = 3}));
  EXPECT_ERROR_WITH("[xnystrace] products is 1, allowed: >= 2", xnystrace(matrix, {.products = 1}));
  EXPECT_ERROR_WITH("[hutch_plus_plus] products is 5, allowed: >= 6", hutch_plus_plus(matrix, {.products = 5}));
  EXPECT_ERROR_WITH("[hutchinson_trace] products is 1, allowed: >= 2", hutchinson_trace(matrix, {.products = 1}));
  EXPECT_ERROR_WITH("[hutchinson_diagonal] products is 1", hutchinson_diagonal(matrix, {.products = 1}));
  EXPECT_ERROR_WITH("[xtrace] tolerance is -1, allowed: >= 0", xtrace(matrix, {.tolerance = -1}));
  EXPECT_ERROR_WITH("[xdiag] products is 3, allowed: >= 4", xdiag(matrix, {.products = 3}));
  EXPECT_ERROR_WITH("[frobenius_norm] products is 1, allowed: >= 2", frobenius_norm(matrix, {.products = 1}));
  seed_everything(22);
  const Dense asymmetric(at::randn({20, 20}, at::kDouble));
  for (const auto& estimate : {hutch_plus_plus, xtrace, xnystrace}) {
    EXPECT_ERROR_WITH("the operator is not symmetric: u'Av is ", estimate(asymmetric, {.products = 12}));
  }
  const Dense indefinite(with_eigenvalues(spectrum("flat").sub(2)));
  EXPECT_ERROR_WITH("the matrix is not positive semi-definite, allowed for it: xtrace",
                    xnystrace(indefinite, {.products = 30}));
  const Dense in_single(with_eigenvalues(spectrum("flat").sub(2)).to(at::kFloat));
  EXPECT_ERROR_WITH("the matrix is not positive semi-definite", xnystrace(in_single, {.products = 30}));
  const Dense broken(at::full({4, 4}, NAN, at::kDouble));
  EXPECT_ERROR_WITH("a product with the matrix is not finite", xtrace(broken, {.products = 4}));
}

}  // namespace
}  // namespace gradwise
