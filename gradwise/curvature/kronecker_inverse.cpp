#include "gradwise/curvature/kronecker_inverse.h"

#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {

KroneckerInverse::KroneckerInverse(std::vector<KroneckerBlock> blocks, std::vector<at::Tensor> damped,
                                   std::int64_t size, at::TensorOptions options)
    : KroneckerOperator("kronecker_inverse", std::move(blocks), size, options) {
  for (std::size_t i = 0; i < damped.size(); ++i) {
    const auto smallest = damped[i].min().item<double>();
    if (!(smallest > 0)) {
      fail("kronecker_inverse", "the smallest eigenvalue of ", this->blocks()[i].name, " with the damping is ",
           smallest, ": there is no inverse, a larger damping makes one");
    }
    reciprocals_.push_back(damped[i].reciprocal());
  }
}

at::Tensor KroneckerInverse::times(std::size_t block, const at::Tensor& matrices) const {
  return times_in_eigenbasis(blocks()[block], reciprocals_[block], matrices);
}

}  // namespace gradwise
