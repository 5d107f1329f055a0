#include "gradwise/curvature/trace.h"

#include <algorithm>
#include <cmath>

#include "gradwise/core/error.h"
#include "gradwise/curvature/random_vectors.h"

namespace gradwise {

Estimate hutchinson_trace(const LinearOperator& matrix, std::int64_t vectors, std::int64_t seed) {
  GRADWISE_CHECK(vectors >= 2, "hutchinson_trace", "vectors is ", vectors, ", allowed: >= 2");
  RandomVectors random(matrix, seed);
  double sum = 0;
  double squares = 0;
  for (std::int64_t i = 0; i < vectors; ++i) {
    const at::Tensor signs = random.signs();
    const double sample = signs.dot(product(matrix, signs)).item<double>();
    sum += sample;
    squares += sample * sample;
  }
  const auto n = static_cast<double>(vectors);
  const double mean = sum / n;
  const double variance = std::max(0.0, (squares - n * mean * mean) / (n - 1));
  return {mean, std::sqrt(variance / n), vectors, vectors};
}

DiagonalEstimate hutchinson_diagonal(const LinearOperator& matrix, const TraceOptions& options) {
  GRADWISE_CHECK(options.products >= 2, "hutchinson_diagonal", "products is ", options.products, ", allowed: >= 2");
  RandomVectors random(matrix, options.seed);
  at::Tensor mean;
  at::Tensor deviations;  // Welford's sum of squares
  for (std::int64_t i = 0; i < options.products; ++i) {
    const at::Tensor signs = random.signs();
    const at::Tensor sample = signs.mul(product(matrix, signs));
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
  return {mean, deviations.div(n * (n - 1)).sqrt(), options.products};
}

}  // namespace gradwise
