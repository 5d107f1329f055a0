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

#include <cmath>
#include <functional>
#include <string>

#include "gradwise/core/random_state.h"
#include "tests/curvature/dense.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

constexpr std::int64_t kSize = 120;

// Section 4 of the paper: eigenvalues from flat to steeply falling.
at::Tensor spectrum(const std::string& name) {
  const at::Tensor i = at::arange(1, kSize + 1, at::kDouble);
  if (name == "flat") {
    return at::linspace(3, 1, kSize, at::kDouble);
  }
  if (name == "poly") {
    return i.pow(-2);
  }
  if (name == "exp") {
    return at::pow(0.7, i);
  }
  return at::cat({at::ones({20}, at::kDouble), at::full({kSize - 20}, 1e-3, at::kDouble)});  // step
}

at::Tensor with_eigenvalues(const at::Tensor& values) {
  seed_everything(17);
  const at::Tensor q = std::get<0>(at::linalg_qr(at::randn({kSize, kSize}, at::kDouble)));
  return q.matmul(at::diag(values)).matmul(q.t());
}

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

TEST_P(Traces, AreUnbiasedAndKnowTheirErrorsToAFactorOfThree) {
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
  // The vectors of XTrace and XNysTrace depend on each other, which the standard error does not see.
  const double told = std::sqrt(claimed / kTrials);
  EXPECT_GT(told, 0.33 * rms);
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
  std::int64_t most = 30;
  for (const auto& estimate : {hutch_plus_plus, xtrace, xnystrace}) {
    const Estimate found = estimate(Dense(full), {});
    EXPECT_NEAR(found.value, exact, 1e-5 * exact);
    EXPECT_EQ(found.products, most);
    most -= 10;
  }
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

TEST(Traces, HutchinsonsErrorIsThatOfTheClosedForm) {
  const at::Tensor matrix = with_eigenvalues(spectrum("flat"));
  const Estimate estimate = hutchinson_trace(Dense(matrix), {.products = 400});
  EXPECT_NEAR(estimate.value, matrix.trace().item<double>(), 4 * estimate.standard_error);
  const double off_diagonal = matrix.sub(at::diag(matrix.diag())).square().sum().item<double>();
  EXPECT_NEAR(estimate.standard_error, std::sqrt(2 * off_diagonal / 400), 0.15 * estimate.standard_error);
}

TEST(Diagonal, IsUnbiasedWithinItsErrors) {
  const at::Tensor matrix = with_eigenvalues(spectrum("flat"));
  const DiagonalEstimate found = hutchinson_diagonal(Dense(matrix), {.products = 400});
  const at::Tensor scores = found.values.sub(matrix.diag()).div(found.standard_errors);
  EXPECT_NEAR(scores.square().mean().sqrt().item<double>(), 1, 0.25);  // of 120 scores
  const at::Tensor diagonal = at::diag(spectrum("flat"));
  EXPECT_TRUE(hutchinson_diagonal(Dense(diagonal), {.products = 2}).values.allclose(diagonal.diag()));
}

TEST(Traces, RefuseWhatTheyCannotTake) {
  const Dense matrix(with_eigenvalues(spectrum("flat")));
  EXPECT_ERROR_WITH("[xtrace] products is 3, allowed: >= 4", xtrace(matrix, {.products = 3}));
  EXPECT_ERROR_WITH("[xnystrace] products is 1, allowed: >= 2", xnystrace(matrix, {.products = 1}));
  EXPECT_ERROR_WITH("[hutch_plus_plus] products is 5, allowed: >= 6", hutch_plus_plus(matrix, {.products = 5}));
  EXPECT_ERROR_WITH("[hutchinson_trace] products is 1, allowed: >= 2", hutchinson_trace(matrix, {.products = 1}));
  EXPECT_ERROR_WITH("[hutchinson_diagonal] products is 1", hutchinson_diagonal(matrix, {.products = 1}));
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
