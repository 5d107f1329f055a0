#include "gradwise/autograd/checkpoint/surroundings.h"

#include <ATen/autocast_mode.h>

namespace gradwise::detail {

at::Device device_of_inputs(const Tensors& inputs) {
  for (const at::Tensor& input : inputs) {
    if (input.defined() && !input.is_cpu()) {
      return input.device();
    }
  }
  return at::kCPU;
}

Surroundings::Surroundings(at::Device device, bool with_random_state)
    : device_(device),
      enabled_(at::autocast::is_autocast_enabled(device.type())),
      type_(at::autocast::get_autocast_dtype(device.type())) {
  if (with_random_state) {
    random_ = random_state(device);
  }
}

Surroundings::Scope::Scope(const Surroundings& surroundings)
    : device_(surroundings.device_),
      enabled_(at::autocast::is_autocast_enabled(device_.type())),
      cache_(at::autocast::is_autocast_cache_enabled()),
      type_(at::autocast::get_autocast_dtype(device_.type())) {
  if (surroundings.random_) {
    random_.emplace(device_);
    set_random_state(*surroundings.random_, device_);
  }
  at::autocast::set_autocast_enabled(device_.type(), surroundings.enabled_);
  at::autocast::set_autocast_dtype(device_.type(), surroundings.type_);
  // Casts of the forward pass are gone; a cache would hand out casts without the graph of this one.
  at::autocast::set_autocast_cache_enabled(surroundings.enabled_ ? false : cache_);
}

Surroundings::Scope::~Scope() {
  at::autocast::set_autocast_enabled(device_.type(), enabled_);
  at::autocast::set_autocast_dtype(device_.type(), type_);
  at::autocast::set_autocast_cache_enabled(cache_);
}

}  // namespace gradwise::detail
