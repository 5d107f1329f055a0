#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>

#include <vector>

#include "gradwise/core/model.h"
#include "gradwise/curvature/linear_operator.h"

namespace gradwise {

inline const LossFunction kClassLoss = [](const at::Tensor& o, const at::Tensor& t) {
  return at::cross_entropy_loss(o, t);
};
inline const LossFunction kSquaredLoss = [](const at::Tensor& o, const at::Tensor& t) { return at::mse_loss(o, t); };

/// Two layers of 3, 4 and 3 units in float64 with eleven samples: 12 + 4 + 12 parameters.
struct SmallNet {
  at::Tensor first = at::randn({4, 3}, at::kDouble).requires_grad_();
  at::Tensor bias = at::randn({4}, at::kDouble).requires_grad_();
  at::Tensor second = at::randn({3, 4}, at::kDouble).requires_grad_();
  at::Tensor x = at::randn({11, 3}, at::kDouble);
  at::Tensor y = at::randn({11, 3}, at::kDouble);
  at::Tensor classes = at::randint(3, {11}, at::kLong);

  static at::Tensor outputs(const std::vector<at::Tensor>& weights, const at::Tensor& x) {
    return x.matmul(weights[0].t()).add(weights[1]).tanh().matmul(weights[2].t());
  }
  [[nodiscard]] Model model() const {
    Model made;
    made.parameters.add("hidden.weight", first);
    made.parameters.add("hidden.bias", bias);
    made.parameters.add("head.weight", second);
    made.forward = [*this](const Batch& batch) { return outputs({first, bias, second}, batch.input); };
    return made;
  }
  /// The same, which adds 1 to `passes` at each forward pass.
  [[nodiscard]] Model model_that_counts(std::int64_t& passes) const {
    Model made = model();
    made.forward = [&passes, forward = made.forward](const Batch& batch) {
      ++passes;
      return forward(batch);
    };
    return made;
  }
  /// The samples in mini-batches of these sizes.
  [[nodiscard]] std::vector<Batch> cut(const at::Tensor& targets, const std::vector<std::int64_t>& sizes) const {
    std::vector<Batch> batches;
    std::int64_t start = 0;
    for (const std::int64_t size : sizes) {
      batches.push_back({x.narrow(0, start, size), targets.narrow(0, start, size), {}});
      start += size;
    }
    return batches;
  }
};

inline at::Tensor matrix_of(const LinearOperator& matrix) {
  return matrix.apply_columns(at::eye(matrix.size(), matrix.options()));
}

}  // namespace gradwise
