#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "gradwise/curvature/eigenpairs.h"

/// What the methods of eigenpairs() share: approximate eigenpairs from a basis, and how far they are off.
namespace gradwise {

/// Ritz pairs of a matrix in a basis; on the host, float64.
struct Ritz {
  at::Tensor values;     ///< in ascending order
  at::Tensor vectors;    ///< columns, in terms of the basis
  at::Tensor residuals;  ///< |A v - value v| of each, as far as the method knows them without a product
};

/// Columns at the ends of `count` Ritz pairs, the upper end first, in descending order.
[[nodiscard]] at::Tensor ends(std::int64_t count, std::int64_t upper, std::int64_t lower);

/// How `extra` columns beside those asked for go to the two ends, as far as these are asked for.
struct EndColumns {
  std::int64_t upper = 0;
  std::int64_t lower = 0;
};
[[nodiscard]] EndColumns with_extra(const EigenOptions& options, std::int64_t extra);

/// How far each Ritz value is from those beside it, less what these may be off themselves; 0 where that is not known.
[[nodiscard]] at::Tensor gaps_of(const Ritz& ritz);

/// The error of each value, from its residual and its gap; see Eigenpairs::errors.
[[nodiscard]] std::vector<double> value_errors(const std::vector<double>& residuals, const at::Tensor& gaps);

/// What the tolerance bounds: `residuals` or `errors`.
[[nodiscard]] const std::vector<double>& bounded(const EigenOptions& options, const std::vector<double>& residuals,
                                                 const std::vector<double>& errors);

/// The pairs that are asked for, with these residuals; vectors are rows. `products` and what follows are the caller's
/// to fill in.
[[nodiscard]] Eigenpairs pairs_of(const at::Tensor& values, const at::Tensor& rows, std::vector<double> residuals,
                                  const at::Tensor& gaps);
/// The same, with residuals by a product for each.
[[nodiscard]] Eigenpairs measured(const LinearOperator& matrix, const at::Tensor& values, const at::Tensor& rows,
                                  const at::Tensor& gaps);

}  // namespace gradwise
