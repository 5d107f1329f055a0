#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "gradwise/core/random_state.h"

namespace gradwise::detail {

/// What a function's result depends on beside its arguments: random state and autocast.
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
    struct Autocast;
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
  bool cache_;
  at::ScalarType type_;
};

}  // namespace gradwise::detail
