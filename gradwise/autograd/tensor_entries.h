#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace gradwise {

/// The entries of a tensor of any type and device, row by row, on the host.
[[nodiscard]] inline std::vector<double> entries_of(const at::Tensor& tensor) {
  const at::Tensor host = tensor.to(at::kCPU, at::kDouble).contiguous();
  return {host.const_data_ptr<double>(), host.const_data_ptr<double>() + host.numel()};
}

}  // namespace gradwise
