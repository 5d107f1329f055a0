#include "cli/config/load_config.h"

#include <toml++/toml.h>

#include "cli/config/toml_reader.h"

namespace gradwise {
namespace {

toml::table parse_file(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path)) {
    fail_usage("config", "there is no file ", path.string());
  }
  try {
    return toml::parse_file(path.string());
  } catch (const toml::parse_error& error) {
    fail_usage("config", path.string(), ", line ", error.source().begin.line, ": ", error.description());
  }
}

void put_value(toml::table& table, const std::string& key, const std::string& text) {
  try {
    const toml::table parsed = toml::parse("value = " + text);
    if (parsed.size() == 1) {
      parsed.get("value")->visit([&table, &key](const auto& value) { table.insert_or_assign(key, value); });
      return;
    }
  } catch (const toml::parse_error&) {
    // No TOML value, so a bare word.
  }
  table.insert_or_assign(key, text);
}

void lay_over(toml::table& root, const std::string& override_text) {
  const std::size_t equals = override_text.find('=');
  GRADWISE_CHECK(equals != std::string::npos && equals > 0, "config", "--set ", override_text,
                 ", allowed: key=value, as train.epochs=3");
  std::string key = override_text.substr(0, equals);
  toml::table* table = &root;
  for (std::size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.')) {
    const std::string group = key.substr(0, dot);
    key.erase(0, dot + 1);
    table->insert(group, toml::table{});  // does nothing where it is there
    toml::table* inner = table->get(group)->as_table();
    GRADWISE_CHECK(inner != nullptr, "config", "--set ", override_text, ": ", group, " is no table");
    table = inner;
  }
  put_value(*table, key, override_text.substr(equals + 1));
}

}  // namespace

RunConfig load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  toml::table table = parse_file(path);
  for (const std::string& text : overrides) {
    lay_over(table, text);
  }
  RunConfig config;
  TomlReader reader(table);
  describe(reader, config);
  reader.refuse_unknown();
  return config;
}

}  // namespace gradwise
