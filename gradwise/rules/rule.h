#pragma once

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/rules/history.h"

namespace gradwise {

/// A rule's figure that a user may set.
struct RuleParameter {
  std::string key;
  double value = 0;
  std::string meaning;
  Allowed allowed;
};

/// Who worked a rule's thresholds out. Only Gradwise's own take part in a diagnosis; the others are there to be asked
/// for, with the defaults that were published.
enum class RuleSet { gradwise, sagemaker, autotrainer };

/// The word for it: "gradwise", "sagemaker" or "autotrainer".
[[nodiscard]] const char* name_of(RuleSet set);

/// What a rule has seen: one entry a layer, or one for the whole model.
struct Sighting {
  std::string layer = {};  ///< parameter or layer; empty for the whole model
  double value = kNotMeasured;
  double threshold = kNotMeasured;
  std::string message = {};  ///< one readable line with the figures
};

using Sightings = std::vector<Sighting>;

/// A pure function of what a training has shown, with a name, parameters, severity and advice. A rule of one's own:
///
///   struct Options { double most = 1e3; };
///   template <class Fields>
///   void describe(Fields& fields, Options& o) { fields.add("most", o.most, "largest weight norm", positive()); }
///   void check(const History& history, const Options& o, Sightings& seen) { ... }
///   Rule rule = make_rule<Options>({.name = "huge_weights", .advice = "lower the learning rate"}, check);
struct Rule {
  std::string name;
  std::string about = {};  ///< one line: what it finds
  RuleSet set = RuleSet::gradwise;
  Severity severity = Severity::warning;
  std::string advice = {};                     ///< what to do about it
  std::string source = {};                     ///< where rule and thresholds were published
  std::vector<RuleParameter> parameters = {};  ///< `set_parameter` alone changes what `check` goes by
  std::function<void(const History&, Sightings&)> check = nullptr;
  /// Gives `check` for other values of the parameters; `make_rule` sets it. Null: they can't be set.
  std::function<decltype(check)(const std::vector<RuleParameter>&)> with_parameters = nullptr;

  /// What it finds now, one issue a sighting.
  [[nodiscard]] std::vector<Issue> issues(const History& history) const;
  /// Sets a parameter; an Error for a name that is none, with the nearest that is, for a value not allowed, and where
  /// there is no `with_parameters`.
  void set_parameter(const std::string& key, double value);
};

/// A number as messages show it: three digits.
[[nodiscard]] std::string figure(double value);

namespace rule_detail {

class FieldsToParameters {
 public:
  explicit FieldsToParameters(std::vector<RuleParameter>& parameters) : parameters_(&parameters) {}
  template <class T>
  void add(std::string_view key, const T& value, std::string_view meaning, const Allowed& allowed) {
    parameters_->push_back({std::string(key), static_cast<double>(value), std::string(meaning), allowed});
  }

 private:
  std::vector<RuleParameter>* parameters_;
};

class ParametersToFields {
 public:
  explicit ParametersToFields(const std::vector<RuleParameter>& parameters) : next_(parameters.begin()) {}
  template <class T>
  void add(std::string_view /*key*/, T& value, std::string_view /*meaning*/, const Allowed& /*allowed*/) {
    value = static_cast<T>((next_++)->value);
  }

 private:
  std::vector<RuleParameter>::const_iterator next_;
};

}  // namespace rule_detail

/// Completes a rule with options of its own: an aggregate of double, std::int64_t and bool with a `describe`.
template <class Options>
[[nodiscard]] Rule make_rule(Rule rule, void (*check)(const History&, const Options&, Sightings&)) {
  Options defaults;
  rule_detail::FieldsToParameters list(rule.parameters);
  describe(list, defaults);
  rule.with_parameters = [check](const std::vector<RuleParameter>& parameters) {
    Options options;
    rule_detail::ParametersToFields fill(parameters);
    describe(fill, options);
    return [check, options](const History& history, Sightings& seen) { check(history, options, seen); };
  };
  rule.check = rule.with_parameters(rule.parameters);
  return rule;
}

}  // namespace gradwise
