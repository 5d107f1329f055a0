#include "gradwise/data/new_tensor.h"

#include <ATen/EmptyTensor.h>

namespace gradwise {

at::Tensor new_tensor(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::Tensor(at::detail::empty_cpu(shape, dtype));
}

void ensure_tensor(at::Tensor& tensor, at::IntArrayRef shape, at::ScalarType dtype) {
  const bool fits = tensor.defined() && tensor.is_cpu() && tensor.scalar_type() == dtype && tensor.sizes() == shape &&
                    tensor.is_contiguous();
  if (!fits) {
    tensor = new_tensor(shape, dtype);
  }
}

}  // namespace gradwise
