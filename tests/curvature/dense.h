#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/randn.h>

#include <tuple>
#include <utility>

#include "gradwise/core/random_state.h"
#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

/// A symmetric matrix that is there in full.
class Dense : public LinearOperator {
 public:
  explicit Dense(at::Tensor matrix) : matrix_(std::move(matrix)) {}
  [[nodiscard]] std::int64_t size() const override { return matrix_.size(0); }
  [[nodiscard]] at::TensorOptions options() const override { return matrix_.options(); }
  [[nodiscard]] at::Tensor apply(const at::Tensor& vector) const override { return matrix_.mv(vector); }

 private:
  at::Tensor matrix_;
};

/// A symmetric matrix of these eigenvalues.
inline at::Tensor rotated(const at::Tensor& values) {
  seed_everything(31);
  const std::int64_t n = values.numel();
  const at::Tensor q = std::get<0>(at::linalg_qr(at::randn({n, n}, at::kDouble)));
  const at::Tensor full = q.mul(values).matmul(q.t());
  return full.add(full.t()).div(2);
}

}  // namespace gradwise
