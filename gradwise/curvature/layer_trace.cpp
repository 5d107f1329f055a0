#include "gradwise/curvature/layer_trace.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <vector>

#include "gradwise/curvature/trace_growth.h"

namespace gradwise {

Estimate layer_trace(const Hessian& matrix, const TraceOptions& options) {
  check_options("layer_trace", options, 2);
  at::Generator generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(options.seed));
  std::vector<double> figures;
  return grow_until(options.tolerance, options.products, [&](std::int64_t more) -> Estimate {
    const std::vector<double> next = matrix.layer_trace_draws(more, generator);
    figures.insert(figures.end(), next.begin(), next.end());
    const at::Tensor all = at::tensor(figures, at::kDouble);
    const auto count = all.numel();
    return {all.mean().item<double>(), all.std().item<double>() / std::sqrt(static_cast<double>(count)), count, count};
  });
}

}  // namespace gradwise
