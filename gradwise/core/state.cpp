#include "gradwise/core/state.h"

#include <cmath>
#include <limits>
#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {

void State::nest(const std::string& prefix, State other) {
  values[prefix] = std::move(other.values);
  for (auto& [name, tensor] : other.tensors) {
    tensors.insert_or_assign(prefix + "/" + name, std::move(tensor));
  }
}

State State::nested(const std::string& prefix) const {
  State part;
  if (const auto found = values.find(prefix); found != values.end()) {
    part.values = *found;
  }
  const std::string start = prefix + "/";
  for (auto it = tensors.lower_bound(start); it != tensors.end() && it->first.starts_with(start); ++it) {
    part.tensors.emplace(it->first.substr(start.size()), it->second);
  }
  return part;
}

nlohmann::json to_json_number(double value) {
  if (std::isnan(value)) {
    return "nan";
  }
  if (std::isinf(value)) {
    return value > 0 ? "inf" : "-inf";
  }
  return value;
}

double from_json_number(const nlohmann::json& value) {
  if (value.is_number()) {
    return value.get<double>();
  }
  if (value.is_string()) {
    const auto& word = value.get_ref<const std::string&>();
    if (word == "nan") {
      return std::numeric_limits<double>::quiet_NaN();
    }
    if (word == "inf" || word == "-inf") {
      return word == "inf" ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity();
    }
  }
  fail("state", "expected a number, \"inf\", \"-inf\" or \"nan\", found ", value.dump());
}

}  // namespace gradwise
