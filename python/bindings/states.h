#pragma once

#include <torch/csrc/utils/pybind.h>

#include <nlohmann/json.hpp>
#include <string>

#include "gradwise/core/state.h"

/// Saved state across the border: JSON as text, tensors as a dict.
namespace gradwise::python {

[[nodiscard]] inline py::tuple tuple_of(const State& state) {
  py::dict tensors;
  for (const auto& [name, tensor] : state.tensors) {
    tensors[py::str(name)] = tensor.detach().clone();
  }
  return py::make_tuple(state.values.dump(), tensors);
}

[[nodiscard]] inline State state_from(const std::string& values, const py::dict& tensors) {
  State state;
  state.values = nlohmann::json::parse(values);
  for (const auto& item : tensors) {
    state.tensors[py::str(item.first)] = item.second.cast<at::Tensor>();
  }
  return state;
}

}  // namespace gradwise::python
