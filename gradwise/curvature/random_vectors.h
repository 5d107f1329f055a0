#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// Vectors for estimators, float64 on the operator's device, from a generator of their own.
class RandomVectors {
 public:
  RandomVectors(const LinearOperator& matrix, std::int64_t seed);

  /// (size(), count) of -1 and 1.
  [[nodiscard]] at::Tensor signs(std::int64_t count);
  /// The same, one column drawn after the other: however many are drawn together, they are the same columns.
  [[nodiscard]] at::Tensor signs_in_turn(std::int64_t count);
  /// (size(), count), uniform on the sphere of radius sqrt(size()).
  [[nodiscard]] at::Tensor on_sphere(std::int64_t count);

 private:
  std::int64_t size_;
  at::Device device_;
  at::Generator generator_;
};

}  // namespace gradwise
