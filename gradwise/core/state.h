#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

namespace gradwise {

/// The saved state of a component (optimizer, average, schedule, loop): numbers and words as JSON, tensors by name.
/// Tensors may share storage with the component: copy them before the component goes on.
struct State {
  nlohmann::json values = nlohmann::json::object();
  std::map<std::string, at::Tensor> tensors;

  /// Takes all of `other` in, under `prefix/`.
  void nest(const std::string& prefix, State other);
  /// What `nest` put under `prefix/`; empty where there is nothing.
  [[nodiscard]] State nested(const std::string& prefix) const;
};

/// JSON has no infinity and no NaN: these two write and read them as "inf", "-inf" and "nan".
[[nodiscard]] nlohmann::json to_json_number(double value);
[[nodiscard]] double from_json_number(const nlohmann::json& value);

}  // namespace gradwise
