#include "gradwise/curvature/spectral_density.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "gradwise/core/error.h"
#include "gradwise/curvature/lanczos_recurrence.h"
#include "gradwise/curvature/trace_growth.h"

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

// Runs of as many vectors, from the vector of an index on, in lockstep.
std::vector<LanczosResult> runs_of(const LinearOperator& matrix, const QuadratureOptions& options, std::int64_t first,
                                   std::int64_t count) {
  std::vector<LanczosResult> results;
  const std::int64_t together = columns_at_once(matrix);
  for (std::int64_t done = 0; done < count; done += together) {
    std::vector<LanczosRecurrence> runs;
    for (std::int64_t i = done; i < std::min(done + together, count); ++i) {
      runs.emplace_back(matrix, options.steps, options.seed + first + i);
    }
    std::vector<LanczosRecurrence*> open;
    const auto take_open = [&runs, &open] {
      open.clear();
      for (LanczosRecurrence& run : runs) {
        if (!run.over()) {
          open.push_back(&run);
        }
      }
      return !open.empty();
    };
    while (take_open()) {
      std::vector<at::Tensor> due;
      std::ranges::transform(open, std::back_inserter(due), [](const LanczosRecurrence* run) { return run->due(); });
      const at::Tensor products = finite_product(matrix, as_columns(due));
      for (std::size_t i = 0; i < open.size(); ++i) {
        open[i]->advance(matrix, products.select(1, static_cast<std::int64_t>(i)));
      }
    }
    std::ranges::transform(runs, std::back_inserter(results), &LanczosRecurrence::ritz_values);
  }
  return results;
}

std::int64_t products_of(const std::vector<LanczosResult>& runs) {
  return std::accumulate(runs.begin(), runs.end(), std::int64_t{0},
                         [](std::int64_t sum, const LanczosResult& run) { return sum + run.products; });
}

// Of the eigenvalues with the damping, by the quadrature of a run.
double mean_logarithm(const LanczosResult& run, double damping) {
  const double least = run.values.back() + damping;
  if (!(least > 0)) {
    fail("log_determinant", "an eigenvalue with the damping is ", least, ", allowed: > 0");
  }
  double sum = 0;
  for (std::size_t j = 0; j < run.values.size(); ++j) {
    sum += run.weights[j] * std::log(run.values[j] + damping);
  }
  return sum;
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
  return runs_of(matrix, options, 0, options.vectors);
}

bool within(const SampledDensity& density, double tolerance) {
  double peak = 0;
  double error = 0;
  for (const DensityPoint& point : density.points) {
    peak = std::max(peak, point.density);
    error = std::max(error, point.standard_error);
  }
  return within(Estimate{peak, error, density.samples}, tolerance);
}

SampledDensity sampled_density(const LinearOperator& matrix, const QuadratureOptions& quadrature,
                               const DensityOptions& options) {
  check_fields("quadrature", quadrature);
  std::vector<LanczosResult> runs;
  return grow_until(quadrature.tolerance, quadrature.vectors, [&](std::int64_t more) {
    std::ranges::move(runs_of(matrix, quadrature, std::ssize(runs), more), std::back_inserter(runs));
    return SampledDensity{spectral_density(runs, options), std::ssize(runs), products_of(runs)};
  });
}

Estimate log_determinant(const LinearOperator& matrix, double damping, const QuadratureOptions& options) {
  GRADWISE_CHECK(damping >= 0, "log_determinant", "damping is ", damping, ", allowed: >= 0");
  check_fields("quadrature", options);
  std::vector<double> figures;
  std::int64_t products = 0;
  return grow_until(options.tolerance, options.vectors, [&](std::int64_t more) {
    const std::vector<LanczosResult> runs = runs_of(matrix, options, std::ssize(figures), more);
    for (const LanczosResult& run : runs) {
      figures.push_back(static_cast<double>(matrix.size()) * mean_logarithm(run, damping));
    }
    products += products_of(runs);
    Estimate found = mean_of(figures);
    found.products = products;
    return found;
  });
}

}  // namespace gradwise
