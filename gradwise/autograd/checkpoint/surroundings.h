#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "gradwise/autograd/functions/tensor_function.h"
#include "gradwise/core/random_state.h"

namespace gradwise::detail {

/// The first device that is not the CPU; the CPU where there is none. Surroundings are of one device.
[[nodiscard]] at::Device device_of_inputs(const Tensors& inputs);

/// What a function's result depends on beside its arguments: the random state of the CPU and of `device`, and the
/// autocast of `device`.
class Surroundings {
 public:
  /// Those of now.
  Surroundings(at::Device device, bool with_random_state);

  /// Puts them back for a scope.
  class Scope {
   public:
    explicit Scope(const Surroundings& surroundings);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    at::Device device_;
    std::optional<RandomStateGuard> random_;
    bool enabled_;
    bool cache_;
    at::ScalarType type_;
  };

 private:
  at::Device device_;
  std::optional<State> random_;
  bool enabled_;
  at::ScalarType type_;
};

}  // namespace gradwise::detail
