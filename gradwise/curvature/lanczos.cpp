#include "gradwise/curvature/lanczos.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/linalg_eigh.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "gradwise/core/error.h"
#include "gradwise/curvature/random_vectors.h"

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
  RandomVectors random(matrix, options.seed);
  at::Tensor q = random.on_sphere(1).select(1, 0);
  q = q.div(q.norm());
  const std::int64_t most = std::min(options.steps, matrix.size());
  const at::Tensor basis = at::empty({most, matrix.size()}, q.options());
  std::vector<double> diagonal;
  std::vector<double> off;
  LanczosResult result;
  for (std::int64_t step = 0; step < most; ++step) {
    at::Tensor next = product(matrix, q);
    basis.select(0, step).copy_(q);
    diagonal.push_back(next.dot(q).item<double>());
    const at::Tensor all = basis.narrow(0, 0, step + 1);
    for (int pass = 0; pass < 2; ++pass) {
      next = next.sub(all.t().mv(all.mv(next)));
    }
    const double beta = next.norm().item<double>();
    result = ritz_values(diagonal, off, beta);
    result.products = step + 1;
    const double size = std::max(std::abs(result.values.front()), std::abs(result.values.back()));
    if (beta <= kExhausted * size || settled(result, wanted, options.tolerance)) {
      break;
    }
    off.push_back(beta);
    q = next.div(beta);
  }
  return result;
}

std::vector<DensityPoint> spectral_density(const std::vector<LanczosResult>& runs) {
  constexpr int kPoints = 200;
  GRADWISE_CHECK(!runs.empty(), "spectral_density", "there is no run of Lanczos");
  for (std::size_t i = 0; i < runs.size(); ++i) {
    GRADWISE_CHECK(!runs[i].values.empty() && runs[i].weights.size() == runs[i].values.size(), "spectral_density",
                   "run ", i, " has ", runs[i].values.size(), " values and ", runs[i].weights.size(),
                   " weights, allowed: as many, and one at least");
  }
  double low = runs.front().values.back();
  double high = runs.front().values.front();
  for (const LanczosResult& run : runs) {
    low = std::min(low, run.values.back());
    high = std::max(high, run.values.front());
  }
  const double range = high > low ? high - low : std::max(1e-12, std::abs(high));
  const double width = 0.01 * range;
  std::vector<DensityPoint> density;
  for (int i = 0; i < kPoints; ++i) {
    const double x = low - 0.05 * range + 1.1 * range * i / (kPoints - 1);
    double sum = 0;
    for (const LanczosResult& run : runs) {
      for (std::size_t j = 0; j < run.values.size(); ++j) {
        const double away = (x - run.values[j]) / width;
        sum += run.weights[j] * std::exp(-0.5 * away * away);
      }
    }
    density.push_back({x, sum / (width * std::sqrt(2 * M_PI) * static_cast<double>(runs.size()))});
  }
  return density;
}

}  // namespace gradwise
