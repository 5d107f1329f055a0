#pragma once

#include <torch/csrc/utils/pybind.h>

#include <string>
#include <string_view>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/core/nearest_name.h"

namespace gradwise::python {

/// Visitor that fills an options struct from a dict of keywords; the fields of a group are a dict of their own.
class KeywordFields {
 public:
  KeywordFields(const char* place, py::dict values, std::string prefix = "")
      : place_(place), values_(std::move(values)), prefix_(std::move(prefix)) {}

  template <FieldType T>
  void add(std::string_view key, T& value, std::string_view /*meaning*/, const Allowed& /*allowed*/) {
    if (const py::object given = take(key); given) {
      try {
        value = given.cast<T>();
      } catch (const py::cast_error&) {
        throw py::type_error(text(key) + " is " + py::repr(given).cast<std::string>() + ", allowed: " + kind<T>());
      }
    }
  }

  template <class Options>
  void group(std::string_view key, Options& options, std::string_view /*meaning*/) {
    const py::object given = take(key);
    if (!given) {
      return;
    }
    if (!py::isinstance<py::dict>(given)) {
      throw py::type_error(text(key) + " is " + py::repr(given).cast<std::string>() +
                           ", allowed: a dict of its fields");
    }
    KeywordFields inner(place_, given.cast<py::dict>(), prefix_ + std::string(key) + ".");
    describe(inner, options);
    inner.refuse_the_rest();
  }

  /// A TypeError for the first keyword that no field has taken.
  void refuse_the_rest() const {
    for (const auto& item : values_) {
      const auto key = py::str(item.first).cast<std::string>();
      if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        const std::string nearest = did_you_mean(key, known_);
        throw py::type_error("[" + std::string(place_) + "] there is no option " + prefix_ + key +
                             (nearest.empty() ? ", allowed: " + comma_separated(known_) : nearest));
      }
    }
  }

 private:
  [[nodiscard]] py::object take(std::string_view key) {
    known_.emplace_back(key);
    const py::str name{std::string(key)};
    return values_.contains(name) ? py::object(values_[name]) : py::object();
  }
  [[nodiscard]] std::string text(std::string_view key) const {
    return "[" + std::string(place_) + "] " + prefix_ + std::string(key);
  }
  template <class T>
  [[nodiscard]] static std::string kind() {
    if constexpr (std::same_as<T, bool>) {
      return "True or False";
    } else if constexpr (std::same_as<T, std::int64_t>) {
      return "an int";
    } else if constexpr (std::same_as<T, double>) {
      return "a float";
    } else if constexpr (std::same_as<T, std::string>) {
      return "a str";
    } else {
      return "a list of them";
    }
  }

  const char* place_;
  py::dict values_;
  std::string prefix_;
  std::vector<std::string> known_;
};

/// An options struct from keywords: TypeError for an unknown one or a wrong type, ValueError for a value out of range.
template <class Options>
[[nodiscard]] Options options_from(const char* place, const py::dict& keywords, Options options = {}) {
  KeywordFields fields(place, keywords);
  describe(fields, options);
  fields.refuse_the_rest();
  check_fields(place, options);
  return options;
}

/// Visitor that puts an options struct into a dict of keywords.
class FieldValues {
 public:
  template <FieldType T>
  void add(std::string_view key, const T& value, std::string_view /*meaning*/, const Allowed& /*allowed*/) {
    values_[py::str(std::string(key))] = value;
  }

  template <class Options>
  void group(std::string_view key, Options& options, std::string_view /*meaning*/) {
    FieldValues inner;
    describe(inner, options);
    values_[py::str(std::string(key))] = inner.values();
  }

  [[nodiscard]] const py::dict& values() const { return values_; }

 private:
  py::dict values_;
};

/// The keywords that `options_from` makes `options` of, all of them.
template <class Options>
[[nodiscard]] py::dict keywords_of(Options options) {
  FieldValues values;
  describe(values, options);
  return values.values();
}

}  // namespace gradwise::python
