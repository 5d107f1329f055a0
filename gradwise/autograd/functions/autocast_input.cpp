#include "gradwise/autograd/functions/autocast_input.h"

#include <ATen/autocast_mode.h>

namespace gradwise {

at::Tensor autocast_input(const at::Tensor& tensor) {
  const at::DeviceType device = tensor.device().type();
  if (!at::autocast::is_autocast_available(device) || !at::autocast::is_autocast_enabled(device)) {
    return tensor;
  }
  return at::autocast::cached_cast(at::autocast::get_autocast_dtype(device), tensor, device);
}

}  // namespace gradwise
