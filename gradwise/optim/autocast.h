#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace gradwise {

/// The type that a precision names: float32, bfloat16 or float16.
[[nodiscard]] at::ScalarType precision_type(const std::string& name);

/// Runs the eligible operators of a scope in `dtype` (bfloat16 or float16), as `torch.autocast` does; nothing changes
/// where `dtype` is float32. Nests; the weight cache is cleared at the end of the outermost scope.
class AutocastScope {
 public:
  AutocastScope(at::DeviceType device, at::ScalarType dtype);
  ~AutocastScope();
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  at::DeviceType device_;
  bool active_;
  bool enabled_before_ = false;
  at::ScalarType dtype_before_ = at::kFloat;
};

}  // namespace gradwise
