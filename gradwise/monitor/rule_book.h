#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/fields.h"
#include "gradwise/rules/rule.h"

namespace gradwise {

struct RuleBookOptions {
  std::int64_t every = 10;
  std::vector<std::string> sets = {"gradwise"};
  std::vector<std::string> ignore = {};
  std::vector<std::string> set = {};
  std::int64_t silence = 200;
};

template <class Fields>
void describe(Fields& fields, RuleBookOptions& o) {
  fields.add("every", o.every, "optimizer steps between checks; 0: never", at_least(0));
  fields.add("sets", o.sets, "whose rules: gradwise, sagemaker, autotrainer", anything());
  fields.add("ignore", o.ignore, "names of rules that are left out", anything());
  fields.add("set", o.set, "parameters of rules, as \"dead_units.share=0.7\"", anything());
  fields.add("silence", o.silence, "steps for which a rule that has spoken of a layer is not heard again", at_least(0));
}

/// The rules that a training is held against, and which of their issues have been told already.
class RuleBook {
 public:
  /// Throws an Error for a set, rule or parameter that there is none of.
  explicit RuleBook(const RuleBookOptions& options = {});

  /// Adds a rule of the user's own.
  void add(Rule rule);
  [[nodiscard]] const std::vector<Rule>& rules() const { return rules_; }

  /// Everything that the rules find now.
  [[nodiscard]] std::vector<Issue> check(const History& history) const;
  /// Those of `issues` that were not told in the last `silence` steps; they count as told then.
  [[nodiscard]] std::vector<Issue> news(const std::vector<Issue>& issues);

 private:
  RuleBookOptions options_;
  std::vector<Rule> rules_;
  std::map<std::pair<std::string, std::string>, std::int64_t> told_;  // (rule, layer) -> step
};

}  // namespace gradwise
