#include "gradwise/optim/autocast.h"

#include <ATen/autocast_mode.h>

namespace gradwise {

at::ScalarType precision_type(const std::string& name) {
  if (name == "bfloat16") {
    return at::kBFloat16;
  }
  return name == "float16" ? at::kHalf : at::kFloat;
}

AutocastScope::AutocastScope(at::DeviceType device, at::ScalarType dtype)
    : device_(device), active_(dtype == at::kBFloat16 || dtype == at::kHalf) {
  if (active_) {
    enabled_before_ = at::autocast::is_autocast_enabled(device);
    dtype_before_ = at::autocast::get_autocast_dtype(device);
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::set_autocast_dtype(device, dtype);
    at::autocast::increment_nesting();
  }
}

AutocastScope::~AutocastScope() {
  if (active_) {
    if (at::autocast::decrement_nesting() == 0) {
      at::autocast::clear_cache();
    }
    at::autocast::set_autocast_dtype(device_, dtype_before_);
    at::autocast::set_autocast_enabled(device_, enabled_before_);
  }
}

}  // namespace gradwise
