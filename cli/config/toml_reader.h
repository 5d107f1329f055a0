#pragma once

#include <toml++/toml.h>
#include <string>
#include <string_view>
#include <vector>

#include "gradwise/core/fields.h"

namespace gradwise {

/// Visitor (see core/fields.h) that fills a struct from a TOML table. After the visit, `refuse_unknown` complains of
/// the first key that no field has, with the nearest one that there is, or else all that its group has. Values are
/// checked against what is allowed.
class TomlReader {
 public:
  explicit TomlReader(const toml::table& table) : table_(&table) {}

  template <FieldType T>
  void add(std::string_view key, T& value, std::string_view /*meaning*/, const Allowed& allowed) {
    known_.emplace_back(key);
    if (const toml::node* node = table_ == nullptr ? nullptr : table_->get(key)) {
      read(prefix_ + std::string(key), *node, value);
      const std::string why = violation(value, allowed);
      GRADWISE_CHECK(why.empty(), "config", prefix_, key, why, where(node->source()));
    }
  }

  template <class Options>
  void group(std::string_view key, Options& options, std::string_view /*meaning*/) {
    known_.emplace_back(key);
    TomlReader inner(*this, key);
    describe(inner, options);
    inner.refuse_unknown();
  }

  void refuse_unknown() const;

 private:
  TomlReader(const TomlReader& outer, std::string_view key);

  /// " (FILE, line N)", or "" for what was set on the command line.
  static std::string where(const toml::source_region& region);
  [[noreturn]] static void refuse_type(const std::string& key, const toml::node& node, const char* wanted);
  static void read(const std::string& key, const toml::node& node, bool& value);
  static void read(const std::string& key, const toml::node& node, std::int64_t& value);
  static void read(const std::string& key, const toml::node& node, double& value);
  static void read(const std::string& key, const toml::node& node, std::string& value);
  template <class T>
  static void read(const std::string& key, const toml::node& node, std::vector<T>& values) {
    values.clear();
    const toml::array& array = require_array(key, node);
    for (std::size_t i = 0; i < array.size(); ++i) {
      T value{};
      read(key + "[" + std::to_string(i) + "]", *array.get(i), value);
      values.push_back(value);
    }
  }
  static const toml::array& require_array(const std::string& key, const toml::node& node);

  const toml::table* table_;  // null where the file has no such table
  std::string prefix_;
  std::vector<std::string> known_;
};

}  // namespace gradwise
