#include "gradwise/core/named_parameters.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"

namespace gradwise {

std::int64_t NamedParameters::numel() const {
  std::int64_t total = 0;
  for (const at::Tensor& tensor : tensors) {
    total += tensor.numel();
  }
  return total;
}

NamedParameters NamedParameters::trainable() const {
  NamedParameters kept;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].requires_grad()) {
      kept.add(names[i], tensors[i]);
    }
  }
  return kept;
}

NamedParameters NamedParameters::matching(const std::vector<std::string>& patterns, const char* place) const {
  if (patterns.empty()) {
    return *this;
  }
  for (const std::string& pattern : patterns) {
    GRADWISE_CHECK(std::ranges::any_of(names, [&pattern](const auto& name) { return matches_pattern(name, pattern); }),
                   place, "parameters: no parameter's name matches \"", pattern, "\"", did_you_mean(pattern, names));
  }
  NamedParameters kept;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (std::ranges::any_of(patterns, [&](const auto& pattern) { return matches_pattern(names[i], pattern); })) {
      kept.add(names[i], tensors[i]);
    }
  }
  return kept;
}

std::size_t NamedParameters::index(const std::string& name) const {
  const auto found = std::ranges::find(names, name);
  GRADWISE_CHECK(found != names.end(), "parameters", "there is no parameter \"", name, "\"", did_you_mean(name, names));
  return static_cast<std::size_t>(found - names.begin());
}

void NamedParameters::add(std::string name, at::Tensor tensor) {
  names.push_back(std::move(name));
  tensors.push_back(std::move(tensor));
}

void NamedParameters::check_names(const char* place) const {
  std::set<std::string> seen;
  for (const std::string& name : names) {
    GRADWISE_CHECK(seen.insert(name).second, place, "two parameters are called \"", name,
                   "\", allowed: names that differ");
  }
}

void NamedParameters::check_types(const char* place) const {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    GRADWISE_CHECK(!tensors[i].requires_grad() || tensors[i].is_floating_point(), place, names[i], " is ",
                   tensors[i].scalar_type(), ", allowed: real numbers (float64, float32, float16, bfloat16)");
  }
}

}  // namespace gradwise
