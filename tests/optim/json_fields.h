#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "gradwise/core/error.h"
#include "gradwise/core/fields.h"

namespace gradwise {

/// Visitor that fills an options struct from a JSON table.
class JsonFields {
 public:
  explicit JsonFields(const nlohmann::json& values) : values_(values) {}

  template <FieldType T>
  void add(const char* key, T& value, const char* /*meaning*/, const Allowed& /*allowed*/) {
    if (const auto found = values_.find(key); found != values_.end()) {
      value = found->get<T>();
      known_.insert(key);
    }
  }
  [[nodiscard]] bool is_known(const std::string& key) const { return known_.contains(key); }

 private:
  const nlohmann::json& values_;
  std::set<std::string> known_;
};

/// An options struct read from a JSON table, whose other keys may be `others` alone.
template <class Options>
Options read_options(const nlohmann::json& values, const std::set<std::string>& others = {}) {
  Options options;
  JsonFields fields(values);
  describe(fields, options);
  for (const auto& item : values.items()) {
    GRADWISE_CHECK(fields.is_known(item.key()) || others.contains(item.key()), "probe", "unknown option ", item.key());
  }
  return options;
}

}  // namespace gradwise
