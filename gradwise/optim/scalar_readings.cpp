#include "gradwise/optim/scalar_readings.h"

#include <ATen/ops/stack.h>

namespace gradwise {

std::vector<double> read_scalars(const std::vector<at::Tensor>& scalars) {
  std::vector<double> values(scalars.size());
  if (scalars.empty()) {
    return values;
  }
  if (scalars.front().is_cpu()) {
    for (std::size_t i = 0; i < scalars.size(); ++i) {
      values[i] = scalars[i].item<double>();
    }
    return values;
  }
  std::vector<at::Tensor> flat;
  for (const at::Tensor& scalar : scalars) {
    flat.push_back(scalar.to(scalars.front().device(), at::kFloat).reshape({}));
  }
  const at::Tensor host = at::stack(flat).to(at::kCPU);
  for (std::size_t i = 0; i < scalars.size(); ++i) {
    values[i] = host[static_cast<std::int64_t>(i)].item<double>();
  }
  return values;
}

}  // namespace gradwise
