#include "gradwise/curvature/trace.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randint.h>

#include <cmath>

#include "gradwise/core/error.h"

namespace gradwise {

Estimate hutchinson_trace(const LinearOperator& matrix, std::int64_t vectors, std::int64_t seed) {
  GRADWISE_CHECK(vectors >= 2, "hutchinson_trace", "vectors is ", vectors, ", allowed: >= 2");
  at::Generator random = at::detail::createCPUGenerator(static_cast<std::uint64_t>(seed));
  double sum = 0;
  double squares = 0;
  for (std::int64_t i = 0; i < vectors; ++i) {
    const at::Tensor signs = at::randint(2, {matrix.size()}, random, at::kDouble).mul(2).sub(1).to(matrix.options());
    const double sample = signs.to(at::kDouble).dot(matrix.apply(signs).to(at::kDouble)).item<double>();
    sum += sample;
    squares += sample * sample;
  }
  const auto n = static_cast<double>(vectors);
  const double mean = sum / n;
  const double variance = std::max(0.0, (squares - n * mean * mean) / (n - 1));
  return {mean, std::sqrt(variance / n), vectors};
}

}  // namespace gradwise
