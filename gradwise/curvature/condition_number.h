#pragma once

#include <cstdint>

#include "gradwise/curvature/eigenpairs.h"

namespace gradwise {

struct ConditionNumber {
  double value = 0;     ///< (largest + damping) / (smallest + damping)
  double low = 0;       ///< what the residuals of the two eigenvalues leave room for
  double high = 0;      ///< infinity where the smallest one's residual reaches 0
  double largest = 0;   ///< eigenvalue
  double smallest = 0;  ///< eigenvalue
  std::int64_t products = 0;
  bool converged = false;
};

/// The condition number of A + damping I for a matrix that is positive definite with the damping, from both ends of its
/// spectrum; the options are those of eigenpairs but for `largest` and `smallest`. The smallest eigenvalue takes many
/// products where the matrix is badly conditioned; `tolerance` is relative to the largest, so it has to be below
/// 1 / value. Errors: as of eigenpairs, a negative damping; of kind failure, a smallest eigenvalue that is not positive
/// with the damping.
[[nodiscard]] ConditionNumber condition_number(const LinearOperator& matrix, double damping = 0,
                                               EigenOptions options = {.tolerance = 1e-8});

}  // namespace gradwise
