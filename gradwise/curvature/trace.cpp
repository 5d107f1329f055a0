#include "gradwise/curvature/trace.h"

#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "gradwise/core/error.h"
#include "gradwise/curvature/random_vectors.h"
#include "gradwise/curvature/trace_growth.h"

namespace gradwise {
namespace {

// Mean and variance of samples, element by element, by Welford's recurrence.
class RunningMean {
 public:
  void add(const at::Tensor& sample) {
    ++count_;
    if (count_ == 1) {
      mean_ = sample.clone();
      deviations_ = at::zeros_like(sample);
      return;
    }
    const at::Tensor distance = sample.sub(mean_);
    mean_.add_(distance, 1.0 / static_cast<double>(count_));
    deviations_.addcmul_(distance, sample.sub(mean_));
  }

  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] const at::Tensor& mean() const { return mean_; }
  [[nodiscard]] at::Tensor standard_error() const {
    const auto n = static_cast<double>(count_);
    return deviations_.div(n * std::max(1.0, n - 1)).sqrt();
  }

 private:
  std::int64_t count_ = 0;
  at::Tensor mean_;
  at::Tensor deviations_;
};

// The mean of `sample_of(signs, product)` over random signs, as `result_of` gives it. Products are made together.
template <class SampleOf, class ResultOf>
auto over_signs(const char* place, const LinearOperator& matrix, const TraceOptions& options, const SampleOf& sample_of,
                const ResultOf& result_of) {
  check_options(place, options, 2);
  RandomVectors random(matrix, options.seed);
  RunningMean mean;
  return grow_until(options.tolerance, options.products, [&](std::int64_t more) {
    const std::int64_t together = columns_at_once(matrix);
    for (std::int64_t done = 0; done < more; done += together) {
      const at::Tensor signs = random.signs_in_turn(std::min(together, more - done));
      const at::Tensor products = product(matrix, signs);
      for (std::int64_t i = 0; i < signs.size(1); ++i) {
        mean.add(sample_of(signs.select(1, i), products.select(1, i)));
      }
    }
    return result_of(mean);
  });
}

Estimate figure_of(const RunningMean& mean) {
  return {mean.mean().item<double>(), mean.standard_error().item<double>(), mean.count(), mean.count()};
}

}  // namespace

Estimate hutchinson_trace(const LinearOperator& matrix, const TraceOptions& options) {
  // A sample is the sum of samples d_i of the diagonal's entries, whose variances are sums of a_ij^2 over j != i.
  return over_signs(
      "hutchinson_trace", matrix, options,
      [](const at::Tensor& signs, const at::Tensor& product) { return signs.mul(product); },
      [](const RunningMean& mean) {
        const double variance = 2 * mean.standard_error().square().sum().item<double>();
        return Estimate{mean.mean().sum().item<double>(), std::sqrt(variance), mean.count(), mean.count()};
      });
}

Estimate frobenius_norm(const LinearOperator& matrix, const TraceOptions& options) {
  return over_signs(
      "frobenius_norm", matrix, options,
      [](const at::Tensor& /*signs*/, const at::Tensor& product) { return product.square().sum(); },
      [](const RunningMean& mean) {
        Estimate found = figure_of(mean);
        found.value = std::sqrt(found.value);
        found.standard_error = found.value > 0 ? found.standard_error / (2 * found.value) : 0;
        return found;
      });
}

bool within(const DiagonalEstimate& estimate, double tolerance) {
  const Estimate norms{estimate.values.norm().item<double>(), estimate.standard_errors.norm().item<double>(),
                       estimate.samples};
  return within(norms, tolerance);
}

DiagonalEstimate hutchinson_diagonal(const LinearOperator& matrix, const TraceOptions& options) {
  return over_signs(
      "hutchinson_diagonal", matrix, options,
      [](const at::Tensor& signs, const at::Tensor& product) { return signs.mul(product); },
      [](const RunningMean& mean) {
        return DiagonalEstimate{mean.mean(), mean.standard_error(), mean.count(), mean.count()};
      });
}

}  // namespace gradwise
