#pragma once

#include "gradwise/curvature/data_operator.h"

namespace gradwise {

/// The Hessian of a loss with respect to the model's parameters, on one batch or over a data set. One forward pass and
/// one backward pass with its graph when it is made; each product is a backward pass through that gradient
/// (Pearlmutter, "Fast Exact Multiplication by the Hessian", 1994).
///
///   const Hessian matrix(model, loss_function, read_batches(loader), {.parameters = {"head.*"}});
///   const LanczosResult spectrum = lanczos(matrix, 3);
///
/// Data sets, what stays as it was, and the errors: as DataOperator says.
class Hessian : public DataOperator {
 public:
  Hessian(const Model& model, const LossFunction& loss_function, const at::Tensor& input_data,
          const at::Tensor& target_data);
  Hessian(const Model& model, const LossFunction& loss_function, std::vector<Batch> batches,
          CurvatureOptions options = {});

  /// The gradient (size()), detached.
  [[nodiscard]] const at::Tensor& gradient() const { return data_gradient(); }
  /// What layer_trace takes the mean of; see layer_trace_draws.h.
  [[nodiscard]] std::vector<double> layer_trace_draws(std::int64_t count, at::Generator& generator) const {
    return data_layer_trace_draws(count, generator);
  }
};

}  // namespace gradwise
