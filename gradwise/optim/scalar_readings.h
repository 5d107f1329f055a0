#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace gradwise {

/// The values of scalar tensors, fetched with one copy to the host.
[[nodiscard]] std::vector<double> read_scalars(const std::vector<at::Tensor>& scalars);

}  // namespace gradwise
