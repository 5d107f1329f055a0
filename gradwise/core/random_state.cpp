#include "gradwise/core/random_state.h"

#include <ATen/Context.h>
#include <ATen/core/Generator.h>

#include <mutex>

namespace gradwise {
namespace {

at::Tensor generator_state(at::Device device) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::scoped_lock lock(generator.mutex());
  return generator.get_state();
}

void set_generator_state(const State& state, const std::string& name, at::Device device) {
  const auto found = state.tensors.find(name);
  if (found == state.tensors.end()) {
    return;
  }
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::scoped_lock lock(generator.mutex());
  generator.set_state(found->second);
}

}  // namespace

void seed_everything(std::uint64_t seed) { at::manual_seed(seed); }

State random_state(at::Device device) {
  State state;
  state.tensors["cpu"] = generator_state(at::kCPU);
  if (!device.is_cpu()) {
    state.tensors["device"] = generator_state(device);
  }
  return state;
}

void set_random_state(const State& state, at::Device device) {
  set_generator_state(state, "cpu", at::kCPU);
  if (!device.is_cpu()) {
    set_generator_state(state, "device", device);
  }
}

}  // namespace gradwise
