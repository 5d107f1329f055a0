#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "gradwise/core/error.h"

namespace gradwise {

/// What a field may hold: for numbers a predicate, for words a closed list; `text` says it to a reader.
struct Allowed {
  std::string text;
  std::function<bool(double)> number;
  std::vector<std::string> words;
};

/// "a, b, c": how messages list what is allowed.
[[nodiscard]] std::string comma_separated(const std::vector<std::string>& words);

[[nodiscard]] Allowed anything();
[[nodiscard]] Allowed positive();
[[nodiscard]] Allowed at_least(double low);
/// low <= x <= high
[[nodiscard]] Allowed between(double low, double high);
/// low <= x < high
[[nodiscard]] Allowed from_below(double low, double high);
[[nodiscard]] Allowed one_of(std::vector<std::string> words);

/// The types a field of an options struct may have.
template <class T>
concept FieldType = std::same_as<T, bool> || std::same_as<T, std::int64_t> || std::same_as<T, double> ||
    std::same_as<T, std::string> || std::same_as<T, std::vector<double>> ||
    std::same_as<T, std::vector<std::int64_t>> || std::same_as<T, std::vector<std::string>>;

/// An options struct tells its fields once, beside its definition; checking, configuration files, command-line
/// overrides, `config --explain` and Python keywords all come from that:
///
///   struct EmaOptions { double decay = 0.999; };
///   template <class Fields>
///   void describe(Fields& fields, EmaOptions& o) {
///     fields.add("decay", o.decay, "weight of the old average in an update", between(0, 1));
///   }
///
/// A visitor offers `add(key, value, meaning, allowed)` for values and `group(key, struct, meaning)` for structs
/// that have a `describe` of their own.
[[nodiscard]] std::string violation(bool value, const Allowed& allowed);
[[nodiscard]] std::string violation(std::int64_t value, const Allowed& allowed);
[[nodiscard]] std::string violation(double value, const Allowed& allowed);
[[nodiscard]] std::string violation(const std::string& value, const Allowed& allowed);
[[nodiscard]] std::string violation(const std::vector<double>& value, const Allowed& allowed);
[[nodiscard]] std::string violation(const std::vector<std::int64_t>& value, const Allowed& allowed);
[[nodiscard]] std::string violation(const std::vector<std::string>& value, const Allowed& allowed);

/// Visitor that throws for the first field whose value is not allowed.
class FieldCheck {
 public:
  explicit FieldCheck(std::string place) : place_(std::move(place)) {}

  template <FieldType T>
  void add(std::string_view key, const T& value, std::string_view /*meaning*/, const Allowed& allowed) {
    const std::string why = violation(value, allowed);
    GRADWISE_CHECK(why.empty(), place_.c_str(), prefix_, key, why);
  }

  template <class Options>
  void group(std::string_view key, Options& options, std::string_view /*meaning*/) {
    const std::string outer = prefix_;
    prefix_ += std::string(key) + ".";
    describe(*this, options);
    prefix_ = outer;
  }

 private:
  std::string place_;
  std::string prefix_;
};

/// Throws an Error that names field, value and what is allowed, unless every field of `options` may hold its value.
template <class Options>
void check_fields(const char* place, const Options& options) {
  FieldCheck check(place);
  Options copy = options;
  describe(check, copy);
}

}  // namespace gradwise
