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

  /// (size()) of -1 and 1.
  [[nodiscard]] at::Tensor signs();
  /// (size(), count), uniform on the sphere of radius sqrt(size()).
  [[nodiscard]] at::Tensor on_sphere(std::int64_t count);

 private:
  std::int64_t size_;
  at::Device device_;
  at::Generator generator_;
};

/// The matrix times a vector or the columns of a matrix, taken in the operator's type and given as float64. Error of
/// kind failure: a product that is not finite.
[[nodiscard]] at::Tensor product(const LinearOperator& matrix, const at::Tensor& vectors);

}  // namespace gradwise
