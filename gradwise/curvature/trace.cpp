#include "gradwise/curvature/trace.h"

#include <cmath>
#include <functional>

#include "gradwise/core/error.h"
#include "gradwise/curvature/random_vectors.h"

namespace gradwise {
namespace {

// Of samples, element by element.
struct Mean {
  at::Tensor value;
  at::Tensor standard_error;
};

// What `sample_of` makes of random signs and their products, by Welford's recurrence.
Mean mean_over_signs(const char* place, const LinearOperator& matrix, const TraceOptions& options,
                     const std::function<at::Tensor(const at::Tensor& signs, const at::Tensor& product)>& sample_of) {
  GRADWISE_CHECK(options.products >= 2, place, "products is ", options.products, ", allowed: >= 2");
  RandomVectors random(matrix, options.seed);
  at::Tensor mean;
  at::Tensor deviations;  // the sum of their squares
  for (std::int64_t i = 0; i < options.products; ++i) {
    const at::Tensor signs = random.signs();
    const at::Tensor sample = sample_of(signs, product(matrix, signs));
    if (i == 0) {
      mean = sample;
      deviations = sample.mul(0);
      continue;
    }
    const at::Tensor distance = sample.sub(mean);
    mean = mean.add(distance, 1.0 / static_cast<double>(i + 1));
    deviations = deviations.add(distance.mul(sample.sub(mean)));
  }
  const auto n = static_cast<double>(options.products);
  return {mean, deviations.div(n * (n - 1)).sqrt()};
}

}  // namespace

Estimate hutchinson_trace(const LinearOperator& matrix, const TraceOptions& options) {
  const Mean found =
      mean_over_signs("hutchinson_trace", matrix, options,
                      [](const at::Tensor& signs, const at::Tensor& product) { return signs.dot(product); });
  return {found.value.item<double>(), found.standard_error.item<double>(), options.products, options.products};
}

DiagonalEstimate hutchinson_diagonal(const LinearOperator& matrix, const TraceOptions& options) {
  const Mean found =
      mean_over_signs("hutchinson_diagonal", matrix, options,
                      [](const at::Tensor& signs, const at::Tensor& product) { return signs.mul(product); });
  return {found.value, found.standard_error, options.products};
}

}  // namespace gradwise
