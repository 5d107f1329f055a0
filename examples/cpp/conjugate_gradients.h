#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

/// Solves A x = b for a symmetric positive definite A that is known by its products alone (Hestenes and Stiefel, 1952),
/// until the residual is `tolerance` times b's norm or after as many steps as b has elements.
[[nodiscard]] inline at::Tensor conjugate_gradients(const std::function<at::Tensor(const at::Tensor&)>& product,
                                                    const at::Tensor& b, double tolerance = 1e-10) {
  at::Tensor x = b.new_zeros(b.sizes());
  at::Tensor residual = b;
  at::Tensor direction = b;
  double squared = residual.dot(residual).item<double>();
  const double enough = tolerance * tolerance * squared;
  for (std::int64_t step = 0; step < b.numel() && squared > enough; ++step) {
    const at::Tensor moved = product(direction);
    const double length = squared / direction.dot(moved).item<double>();
    x = x.add(direction, length);
    residual = residual.sub(moved, length);
    const double before = squared;
    squared = residual.dot(residual).item<double>();
    direction = residual.add(direction, squared / before);
  }
  return x;
}
