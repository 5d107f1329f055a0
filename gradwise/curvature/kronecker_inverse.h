#pragma once

#include <vector>

#include "gradwise/curvature/kronecker_operator.h"

namespace gradwise {

/// The inverse of a damped matrix of Kronecker factors, in closed form; `KroneckerFactors` makes it. It stays good when
/// they are gone.
class KroneckerInverse : public KroneckerOperator {
 public:
  /// `damped`: of each block its eigenvalues with the damping (groups, out, in). Error of kind failure: one that is not
  /// above 0.
  KroneckerInverse(std::vector<KroneckerBlock> blocks, std::vector<at::Tensor> damped, std::int64_t size,
                   at::TensorOptions options);

 protected:
  [[nodiscard]] at::Tensor times(std::size_t block, const at::Tensor& matrices) const override;

 private:
  std::vector<at::Tensor> reciprocals_;
};

}  // namespace gradwise
