#include "gradwise/curvature/spectral_density.h"

#include <algorithm>
#include <cmath>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// The mean of figures that are independent.
Estimate mean_of(const std::vector<double>& figures) {
  const auto n = static_cast<double>(figures.size());
  double mean = 0;
  for (const double figure : figures) {
    mean += figure / n;
  }
  double squares = 0;
  for (const double figure : figures) {
    squares += (figure - mean) * (figure - mean);
  }
  return {mean, std::sqrt(squares / (n * std::max(1.0, n - 1))), std::ssize(figures)};
}

void check_runs(const std::vector<LanczosResult>& runs) {
  GRADWISE_CHECK(!runs.empty(), "spectral_density", "there is no run of Lanczos");
  for (std::size_t i = 0; i < runs.size(); ++i) {
    GRADWISE_CHECK(!runs[i].values.empty() && runs[i].weights.size() == runs[i].values.size(), "spectral_density",
                   "run ", i, " has ", runs[i].values.size(), " values and ", runs[i].weights.size(),
                   " weights, allowed: as many, and one at least");
  }
}

double widened(const LanczosResult& run, double x, double width) {
  double sum = 0;
  for (std::size_t j = 0; j < run.values.size(); ++j) {
    const double away = (x - run.values[j]) / width;
    sum += run.weights[j] * std::exp(-0.5 * away * away);
  }
  return sum / (width * std::sqrt(2 * M_PI));
}

}  // namespace

std::vector<DensityPoint> spectral_density(const std::vector<LanczosResult>& runs, const DensityOptions& options) {
  check_runs(runs);
  check_fields("spectral_density", options);
  double low = runs.front().values.back();
  double high = runs.front().values.front();
  for (const LanczosResult& run : runs) {
    low = std::min(low, run.values.back());
    high = std::max(high, run.values.front());
  }
  const double magnitude = std::max(std::abs(low), std::abs(high));
  const bool one_value = high - low <= 1e-12 * magnitude;  // of a multiple of the identity: rounding is no range
  const double range = one_value ? std::max(1e-12, magnitude) : high - low;
  std::vector<DensityPoint> density;
  std::vector<double> figures(runs.size());
  for (std::int64_t i = 0; i < options.points; ++i) {
    const double x =
        low - 0.05 * range + 1.1 * range * static_cast<double>(i) / static_cast<double>(options.points - 1);
    std::ranges::transform(runs, figures.begin(),
                           [&](const LanczosResult& run) { return widened(run, x, options.width * range); });
    const Estimate mean = mean_of(figures);
    density.push_back({x, mean.value, mean.standard_error});
  }
  return density;
}

std::vector<LanczosResult> quadrature_runs(const LinearOperator& matrix, const QuadratureOptions& options) {
  check_fields("quadrature", options);
  std::vector<LanczosResult> runs;
  for (std::int64_t i = 0; i < options.vectors; ++i) {
    runs.push_back(lanczos(matrix, 1, {.steps = options.steps, .tolerance = 0, .seed = options.seed + i}));
  }
  return runs;
}

Estimate log_determinant(const LinearOperator& matrix, double damping, const QuadratureOptions& options) {
  GRADWISE_CHECK(damping >= 0, "log_determinant", "damping is ", damping, ", allowed: >= 0");
  std::vector<double> figures;
  std::int64_t products = 0;
  for (const LanczosResult& run : quadrature_runs(matrix, options)) {
    const double least = run.values.back() + damping;
    if (!(least > 0)) {
      fail("log_determinant", "an eigenvalue with the damping is ", least, ", allowed: > 0");
    }
    double sum = 0;
    for (std::size_t j = 0; j < run.values.size(); ++j) {
      sum += run.weights[j] * std::log(run.values[j] + damping);
    }
    figures.push_back(static_cast<double>(matrix.size()) * sum);
    products += run.products;
  }
  Estimate found = mean_of(figures);
  found.products = products;
  return found;
}

}  // namespace gradwise
