#include "gradwise/curvature/random_vectors.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <vector>

#include "gradwise/core/error.h"

namespace gradwise {

RandomVectors::RandomVectors(const LinearOperator& matrix, std::int64_t seed)
    : size_(matrix.size()),
      device_(matrix.options().device()),
      generator_(at::detail::createCPUGenerator(static_cast<std::uint64_t>(seed))) {
  GRADWISE_CHECK(size_ > 0, "curvature", "the operator has no rows");
}

at::Tensor RandomVectors::signs(std::int64_t count) {
  return at::randint(2, {size_, count}, generator_, at::kDouble).mul(2).sub(1).to(device_);
}

at::Tensor RandomVectors::signs_in_turn(std::int64_t count) {
  std::vector<at::Tensor> vectors;
  for (std::int64_t i = 0; i < count; ++i) {
    vectors.push_back(signs(1).select(1, 0));
  }
  return as_columns(vectors);
}

at::Tensor RandomVectors::on_sphere(std::int64_t count) {
  // Drawn in float32, which ATen does five times as fast: any direction will do, its length is made in float64.
  const at::Tensor normal = at::randn({size_, count}, generator_, at::kFloat).to(at::kDouble);
  return normal.div(normal.norm(2, 0)).mul(std::sqrt(static_cast<double>(size_))).to(device_);
}

}  // namespace gradwise
