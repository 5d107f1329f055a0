#pragma once

#include <ATen/core/Tensor.h>

namespace gradwise {

/// Whether a tensor's elements are spread as initialisers spread them: independent numbers of a normal or a uniform
/// distribution around 0, by mean, skewness and kurtosis within four standard errors, in two and more dimensions with
/// the standard deviation of a usual scheme (PyTorch's own, LeCun, Xavier, He, 0.01, 0.02, 1). Training leaves heavier
/// tails and other scales; short trainings may not. False for fewer than 32 elements and for types that are not
/// floating.
[[nodiscard]] bool looks_as_initialized(const at::Tensor& tensor);

}  // namespace gradwise
