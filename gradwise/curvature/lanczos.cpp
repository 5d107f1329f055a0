#include "gradwise/curvature/lanczos.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

constexpr double kExhausted = 1e-7;  // a new direction this short beside the matrix is rounding

// Eigenvalues, error bounds and weights of the tridiagonal matrix so far.
LanczosResult ritz_values(const std::vector<double>& diagonal, const std::vector<double>& off, double residual) {
  const auto n = static_cast<std::int64_t>(diagonal.size());
  const at::Tensor t = at::zeros({n, n}, at::kDouble);
  auto entries = t.accessor<double, 2>();
  for (std::int64_t i = 0; i < n; ++i) {
    entries[i][i] = diagonal[static_cast<std::size_t>(i)];
    if (i + 1 < n) {
      entries[i][i + 1] = entries[i + 1][i] = off[static_cast<std::size_t>(i)];
    }
  }
  const auto [values, vectors] = at::linalg_eigh(t);
  const at::Tensor columns = vectors.contiguous();
  const auto value = values.accessor<double, 1>();
  const auto column = columns.accessor<double, 2>();
  LanczosResult result;
  for (std::int64_t i = n - 1; i >= 0; --i) {
    result.values.push_back(value[i]);
    result.errors.push_back(std::abs(residual * column[n - 1][i]));
    result.weights.push_back(column[0][i] * column[0][i]);
  }
  return result;
}

bool settled(const LanczosResult& result, std::int64_t wanted, double tolerance) {
  const double size = std::max(std::abs(result.values.front()), std::abs(result.values.back()));
  return std::ssize(result.values) >= wanted &&
         std::all_of(result.errors.begin(), result.errors.begin() + wanted,
                     [bound = tolerance * size](double error) { return error <= bound; });
}

}  // namespace

LanczosResult lanczos(const LinearOperator& matrix, std::int64_t wanted, const LanczosOptions& options) {
  GRADWISE_CHECK(wanted >= 1, "lanczos", "wanted is ", wanted, ", allowed: >= 1");
  GRADWISE_CHECK(options.steps >= 1, "lanczos", "steps is ", options.steps, ", allowed: >= 1");
  at::Generator random = at::detail::createCPUGenerator(static_cast<std::uint64_t>(options.seed));
  at::Tensor q = at::randn({matrix.size()}, random, at::kDouble).to(matrix.options().device());
  q = q.div(q.norm());
  std::vector<at::Tensor> basis;
  std::vector<double> diagonal;
  std::vector<double> off;
  LanczosResult result;
  const std::int64_t most = std::min(options.steps, matrix.size());
  while (std::ssize(diagonal) < most) {
    at::Tensor next = matrix.apply(q.to(matrix.options())).to(at::kDouble);
    basis.push_back(q);
    diagonal.push_back(next.dot(q).item<double>());
    const at::Tensor all = at::stack(basis);
    for (int pass = 0; pass < 2; ++pass) {
      next = next.sub(all.t().mv(all.mv(next)));
    }
    const double beta = next.norm().item<double>();
    GRADWISE_CHECK(std::isfinite(beta), "lanczos", "product ", diagonal.size(), " is not finite");
    result = ritz_values(diagonal, off, beta);
    result.products = std::ssize(diagonal);
    const double size = std::max(std::abs(result.values.front()), std::abs(result.values.back()));
    if (beta <= kExhausted * size || settled(result, wanted, options.tolerance)) {
      break;
    }
    off.push_back(beta);
    q = next.div(beta);
  }
  return result;
}

std::vector<std::pair<double, double>> spectral_density(const std::vector<LanczosResult>& runs) {
  constexpr int kPoints = 200;
  GRADWISE_CHECK(!runs.empty() && !runs.front().values.empty(), "spectral_density", "there is no run of Lanczos");
  double low = runs.front().values.back();
  double high = runs.front().values.front();
  for (const LanczosResult& run : runs) {
    low = std::min(low, run.values.back());
    high = std::max(high, run.values.front());
  }
  const double range = high > low ? high - low : std::max(1e-12, std::abs(high));
  const double width = 0.01 * range;
  std::vector<std::pair<double, double>> density;
  for (int i = 0; i < kPoints; ++i) {
    const double x = low - 0.05 * range + 1.1 * range * i / (kPoints - 1);
    double sum = 0;
    for (const LanczosResult& run : runs) {
      for (std::size_t j = 0; j < run.values.size(); ++j) {
        const double away = (x - run.values[j]) / width;
        sum += run.weights[j] * std::exp(-0.5 * away * away);
      }
    }
    density.emplace_back(x, sum / (width * std::sqrt(2 * M_PI) * static_cast<double>(runs.size())));
  }
  return density;
}

}  // namespace gradwise
