#include "gradwise/curvature/rounding.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "gradwise/core/error.h"

namespace gradwise {

double epsilon_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return std::numeric_limits<float>::epsilon();
    case at::kHalf:
      return 0x1p-10;
    case at::kBFloat16:
      return 0x1p-7;
    default:
      return std::numeric_limits<double>::epsilon();
  }
}

double epsilon_of(const LinearOperator& matrix) { return epsilon_of(matrix.options().dtype().toScalarType()); }

double rounding_share(const LinearOperator& matrix) {
  const double epsilon = epsilon_of(matrix);
  return std::min(100 * epsilon, 0.25 * std::sqrt(epsilon));
}

at::TensorOptions basis_options(const LinearOperator& matrix) {
  const bool wide = matrix.options().dtype().toScalarType() == at::kDouble;
  return matrix.options().dtype(wide ? at::kDouble : at::kFloat);
}

void check_symmetric(const char* place, const LinearOperator& matrix, const at::Tensor& left, const at::Tensor& right,
                     double scale) {
  const at::Tensor apart = left.sub(right).abs().flatten();
  if (apart.numel() == 0) {
    return;
  }
  const std::int64_t worst = apart.argmax().item<std::int64_t>();
  if (apart[worst].item<double>() > std::sqrt(epsilon_of(matrix)) * scale) {
    fail(place, "the operator is not symmetric: u'Av is ", left.flatten()[worst].item<double>(), ", v'Au is ",
         right.flatten()[worst].item<double>(), " for some u and v");
  }
}

}  // namespace gradwise
