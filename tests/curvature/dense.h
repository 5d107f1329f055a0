#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

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

}  // namespace gradwise
