#include "cli/config/toml_reader.h"

#include <algorithm>
#include <sstream>

#include "gradwise/core/nearest_name.h"

namespace gradwise {
namespace {

std::string text_of(const toml::node& node) {
  std::ostringstream text;
  node.visit([&text](const auto& value) { text << value; });
  return text.str();
}

// For a key that is near to none.
std::string allowed_names(const std::string& prefix, const std::vector<std::string>& known) {
  const std::string what =
      prefix.empty() ? "; the groups are " : "; allowed in [" + prefix.substr(0, prefix.size() - 1) + "]: ";
  return what + comma_separated(known);
}

}  // namespace

std::string TomlReader::where(const toml::source_region& region) {
  return region.path ? " (" + *region.path + ", line " + std::to_string(region.begin.line) + ")" : "";
}

void TomlReader::refuse_type(const std::string& key, const toml::node& node, const char* wanted) {
  fail_usage("config", key, " is ", text_of(node), ", allowed: ", wanted, where(node.source()));
}

TomlReader::TomlReader(const TomlReader& outer, std::string_view key)
    : table_(nullptr), prefix_(outer.prefix_ + std::string(key) + ".") {
  if (const toml::node* node = outer.table_ == nullptr ? nullptr : outer.table_->get(key)) {
    table_ = node->as_table();
    if (table_ == nullptr) {
      refuse_type(outer.prefix_ + std::string(key), *node, "a table");
    }
  }
}

void TomlReader::refuse_unknown() const {
  if (table_ == nullptr) {
    return;
  }
  for (const auto& [key, node] : *table_) {
    const std::string name(key.str());
    if (std::ranges::find(known_, name) == known_.end()) {
      const std::string near = nearest_name(name, known_);
      fail_usage("config", "unknown key ", prefix_, name, where(key.source()),
                 near.empty() ? allowed_names(prefix_, known_) : "; did you mean " + prefix_ + near + "?");
    }
  }
}

void TomlReader::read(const std::string& key, const toml::node& node, bool& value) {
  if (!node.is_boolean()) {
    refuse_type(key, node, "true or false");
  }
  value = node.as_boolean()->get();
}

void TomlReader::read(const std::string& key, const toml::node& node, std::int64_t& value) {
  if (!node.is_integer()) {
    refuse_type(key, node, "a whole number");
  }
  value = node.as_integer()->get();
}

void TomlReader::read(const std::string& key, const toml::node& node, double& value) {
  if (!node.is_number()) {
    refuse_type(key, node, "a number");
  }
  value = node.is_integer() ? static_cast<double>(node.as_integer()->get()) : node.as_floating_point()->get();
}

void TomlReader::read(const std::string& key, const toml::node& node, std::string& value) {
  if (!node.is_string()) {
    refuse_type(key, node, "a text in quotes");
  }
  value = node.as_string()->get();
}

const toml::array& TomlReader::require_array(const std::string& key, const toml::node& node) {
  if (!node.is_array()) {
    refuse_type(key, node, "a list, as [1, 2]");
  }
  return *node.as_array();
}

}  // namespace gradwise
