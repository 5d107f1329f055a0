#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/core/tensor_memory.h"
#include "gradwise/kernels/histogram.h"
#include "gradwise/kernels/moments.h"
#include "gradwise/kernels/sketch.h"
#include "gradwise/kernels/weight_moments.h"

namespace gradwise {

/// Moments of a tensor that the kernels can read, dense or sparse; allocates only for a sparse one, or one that does
/// not fill its memory. Large tensors are read by all of ATen's threads; the figures do not depend on their number.
[[nodiscard]] kernels::Moments moments_of(const at::Tensor& tensor);
void add_to_histogram(const at::Tensor& gradient, kernels::Histogram& histogram);
/// Moments and sketch of a gradient, in one pass but for float64; a sparse one is made dense for the sketch. Buckets
/// that no element falls into stay as they are. As deterministic as `moments_of`.
[[nodiscard]] kernels::Moments read_gradient(const at::Tensor& gradient, kernels::Sketch& sketch);

/// Weights and their last update, where the kernels can read them; `before` takes the weights' place and has their
/// type and layout.
[[nodiscard]] kernels::WeightMoments read_weights(const at::Tensor& weights, const at::Tensor& before);
/// The same by ATen's operators: a float64 tensor (5) on the weights' own device, float32 where it has no float64.
[[nodiscard]] at::Tensor weight_figures(const at::Tensor& weights, const at::Tensor& before);
[[nodiscard]] kernels::WeightMoments weight_moments_from(const double* figures, std::int64_t count);

/// The same figures by ATen's operators, on the gradient's own device: a float64 tensor (9) that stays there. For
/// devices without float64 arithmetic it is float32.
[[nodiscard]] at::Tensor gradient_figures(const at::Tensor& gradient);
/// From a row of `gradient_figures`, on the host.
[[nodiscard]] kernels::Moments moments_from(const double* figures);

}  // namespace gradwise
