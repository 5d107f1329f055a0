#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/core/state.h"

namespace gradwise {

/// Seeds the default generators of the CPU and of every other device.
void seed_everything(std::uint64_t seed);

/// State of the default generators: of the CPU, and of `device` where that is another one.
[[nodiscard]] State random_state(at::Device device);
void set_random_state(const State& state, at::Device device);

/// Gives the default generators' state back at the end of a scope.
class RandomStateGuard {
 public:
  explicit RandomStateGuard(at::Device device) : device_(device), saved_(random_state(device)) {}
  ~RandomStateGuard() { set_random_state(saved_, device_); }
  RandomStateGuard(const RandomStateGuard&) = delete;
  RandomStateGuard& operator=(const RandomStateGuard&) = delete;

 private:
  at::Device device_;
  State saved_;
};

}  // namespace gradwise
