#pragma once

#include <torch/csrc/utils/pybind.h>

#include <nlohmann/json.hpp>
#include <string>

#include "gradwise/core/state.h"
#include "python/bindings/held.h"

/// Saved state across the border: JSON as text, tensors as a dict. What takes long is done without the interpreter
/// lock.
namespace gradwise::python {

/// What `self.state()` gives, as copies.
template <class Stateful>
[[nodiscard]] py::tuple saved_state(Stateful& self) {
  std::string values;
  const State state = without_lock([&] {
    State copy = self.state();
    for (auto& [name, tensor] : copy.tensors) {
      tensor = tensor.detach().clone();
    }
    values = copy.values.dump();
    return copy;
  });
  py::dict tensors;
  for (const auto& [name, tensor] : state.tensors) {
    tensors[py::str(name)] = tensor;
  }
  return py::make_tuple(values, tensors);
}

template <class Stateful>
void load_saved_state(Stateful& self, const std::string& values, const py::dict& tensors) {
  State state;
  for (const auto& item : tensors) {
    state.tensors[py::str(item.first)] = item.second.cast<at::Tensor>();
  }
  without_lock([&] {
    state.values = nlohmann::json::parse(values);
    self.load_state(state);
  });
}

}  // namespace gradwise::python
