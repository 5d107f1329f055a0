#include "cli/config/toml_writer.h"

#include <toml++/toml.h>
#include <array>
#include <charconv>
#include <cmath>
#include <sstream>

namespace gradwise {
namespace {

// A table's own keys come before its sub-tables, as TOML asks.
class TomlWriter {
 public:
  explicit TomlWriter(std::string name) : name_(std::move(name)) {}

  template <FieldType T>
  void add(std::string_view key, const T& value, std::string_view /*meaning*/, const Allowed& /*allowed*/) {
    keys_ += std::string(key) + " = " + toml_value(value) + "\n";
  }

  template <class Options>
  void group(std::string_view key, Options& options, std::string_view /*meaning*/) {
    TomlWriter inner(name_.empty() ? std::string(key) : name_ + "." + std::string(key));
    describe(inner, options);
    tables_ += "\n" + inner.text();
  }

  [[nodiscard]] std::string text() const { return (name_.empty() ? "" : "[" + name_ + "]\n") + keys_ + tables_; }

 private:
  std::string name_;
  std::string keys_;
  std::string tables_;
};

}  // namespace

std::string toml_value(bool value) { return value ? "true" : "false"; }

std::string toml_value(std::int64_t value) { return std::to_string(value); }

std::string toml_value(double value) {
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value);  // the shortest that reads back
  const std::string digits(text.data(), written.ptr);
  return digits.find_first_of(".en") == std::string::npos ? digits + ".0" : digits;
}

std::string toml_value(const std::string& value) {
  std::ostringstream text;
  text << toml::value<std::string>(value);
  return text.str();
}

std::string to_toml(const RunConfig& config) {
  TomlWriter writer("");
  RunConfig copy = config;
  describe(writer, copy);
  return writer.text();
}

}  // namespace gradwise
