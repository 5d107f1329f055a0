#pragma once

#include <ATen/core/Tensor.h>

namespace gradwise {

/// Whether a tensor's elements are spread as initialisers spread them: independent numbers of a normal or a uniform
/// distribution around 0, by mean, skewness and kurtosis within four standard errors. Training leaves heavier tails.
/// False for fewer than 32 elements and for types that are not floating.
[[nodiscard]] bool looks_as_initialized(const at::Tensor& tensor);

}  // namespace gradwise
