#include "gradwise/curvature/condition_number.h"

#include <limits>

#include "gradwise/core/error.h"

namespace gradwise {

ConditionNumber condition_number(const LinearOperator& matrix, double damping, EigenOptions options) {
  GRADWISE_CHECK(damping >= 0, "condition_number", "damping is ", damping, ", allowed: >= 0");
  GRADWISE_CHECK(matrix.size() > 0, "condition_number", "the operator has no rows");
  options.largest = 1;
  options.smallest = matrix.size() > 1 ? 1 : 0;
  const Eigenpairs ends = eigenpairs(matrix, options);
  const double high = ends.values.front() + damping;
  const double low = ends.values.back() + damping;
  if (!(low > 0)) {
    fail("condition_number", "the smallest eigenvalue with the damping is ", low, ", allowed: > 0");
  }
  ConditionNumber found{.value = high / low,
                        .low = (high - ends.residuals.front()) / (low + ends.residuals.back()),
                        .high = std::numeric_limits<double>::infinity(),
                        .largest = ends.values.front(),
                        .smallest = ends.values.back(),
                        .products = ends.products,
                        .converged = ends.converged};
  if (low > ends.residuals.back()) {
    found.high = (high + ends.residuals.front()) / (low - ends.residuals.back());
  }
  return found;
}

}  // namespace gradwise
