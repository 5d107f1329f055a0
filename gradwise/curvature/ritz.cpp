#include "gradwise/curvature/ritz.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradwise/autograd/tensor_entries.h"

namespace gradwise {

at::Tensor ends(std::int64_t count, std::int64_t upper, std::int64_t lower) {
  std::vector<std::int64_t> columns;
  for (std::int64_t i = 0; i < upper; ++i) {
    columns.push_back(count - 1 - i);
  }
  for (std::int64_t i = lower; i > 0; --i) {
    columns.push_back(i - 1);
  }
  return at::tensor(columns, at::kLong);
}

EndColumns with_extra(const EigenOptions& options, std::int64_t extra) {
  const std::int64_t upper = options.smallest == 0 ? extra : options.largest == 0 ? 0 : extra / 2;
  return {options.largest + upper, options.smallest + (options.smallest == 0 ? 0 : extra - upper)};
}

at::Tensor gaps_of(const Ritz& ritz) {
  const std::int64_t n = ritz.values.numel();
  const at::Tensor gaps = at::zeros({n}, at::kDouble);
  const auto value = ritz.values.accessor<double, 1>();
  const auto residual = ritz.residuals.accessor<double, 1>();
  auto gap = gaps.accessor<double, 1>();
  for (std::int64_t i = 0; i < n && n > 1; ++i) {
    const double below = i > 0 ? value[i] - value[i - 1] - residual[i - 1] : INFINITY;
    const double above = i + 1 < n ? value[i + 1] - value[i] - residual[i + 1] : INFINITY;
    gap[i] = std::max(0.0, std::min(below, above));
  }
  return gaps;
}

std::vector<double> value_errors(const std::vector<double>& residuals, const at::Tensor& gaps) {
  std::vector<double> errors = entries_of(gaps);
  for (std::size_t i = 0; i < residuals.size(); ++i) {
    const double r = residuals[i];
    errors[i] = errors[i] > r ? r * r / errors[i] : r;
  }
  return errors;
}

const std::vector<double>& bounded(const EigenOptions& options, const std::vector<double>& residuals,
                                   const std::vector<double>& errors) {
  return options.tolerance_of == "value" ? errors : residuals;
}

Eigenpairs pairs_of(const at::Tensor& values, const at::Tensor& rows, std::vector<double> residuals,
                    const at::Tensor& gaps) {
  Eigenpairs found;
  found.vectors = rows.t().to(at::kDouble).contiguous();
  found.values = entries_of(values);
  found.errors = value_errors(residuals, gaps);
  found.residuals = std::move(residuals);
  return found;
}

Eigenpairs measured(const LinearOperator& matrix, const at::Tensor& values, const at::Tensor& rows,
                    const at::Tensor& gaps) {
  Eigenpairs found = pairs_of(values, rows, std::vector<double>(static_cast<std::size_t>(values.numel())), gaps);
  const at::Tensor on_device = values.to(rows.device());
  const at::Tensor apart = product(matrix, found.vectors).sub(found.vectors.mul(on_device));
  found.residuals = entries_of(apart.norm(2, 0).cpu());
  found.errors = value_errors(found.residuals, gaps);
  return found;
}

}  // namespace gradwise
