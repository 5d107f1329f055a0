#include "gradwise/monitor/rule_book.h"

#include <algorithm>
#include <charconv>

#include "gradwise/core/error.h"
#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// "dead_units.share=0.7"
void set_by_text(std::vector<Rule>& rules, const std::string& text) {
  const std::size_t dot = text.find('.');
  const std::size_t equals = text.find('=');
  double value = 0;
  const bool shaped = dot != std::string::npos && equals != std::string::npos && dot < equals;
  const char* end = text.data() + text.size();
  const bool whole = shaped && std::from_chars(text.data() + equals + 1, end, value).ptr == end;
  GRADWISE_CHECK(whole && equals + 1 < text.size(), "rules", "set holds \"", text,
                 "\", allowed: rule.parameter=number, as dead_units.share=0.7");
  const std::string name = text.substr(0, dot);
  const auto rule = std::find_if(rules.begin(), rules.end(), [&name](const Rule& r) { return r.name == name; });
  if (rule == rules.end()) {
    (void)rule_named(name);  // tells of a slip of the fingers
    fail_usage("rules", "set speaks of ", name, ", which is not among the rules that are asked for");
  }
  rule->set_parameter(text.substr(dot + 1, equals - dot - 1), value);
}

}  // namespace

RuleBook::RuleBook(const RuleBookOptions& options) : options_(options) {
  check_fields("rules", options);
  for (const std::string& set : options.sets) {
    GRADWISE_CHECK(set == "gradwise" || set == "sagemaker" || set == "autotrainer", "rules", "sets holds \"", set,
                   "\", allowed: gradwise, sagemaker, autotrainer");
  }
  for (const std::string& name : options.ignore) {
    (void)rule_named(name);
  }
  for (Rule& rule : all_rules()) {
    if (among(options.sets, name_of(rule.set)) && !among(options.ignore, rule.name)) {
      rules_.push_back(std::move(rule));
    }
  }
  for (const std::string& text : options.set) {
    set_by_text(rules_, text);
  }
}

void RuleBook::add(Rule rule) {
  GRADWISE_CHECK(!rule.name.empty() && rule.check, "rules", "a rule needs a name and a check");
  const bool taken = std::any_of(rules_.begin(), rules_.end(), [&rule](const Rule& r) { return r.name == rule.name; });
  GRADWISE_CHECK(!taken, "rules", "there is a rule \"", rule.name, "\" already");
  rules_.push_back(std::move(rule));
}

std::vector<Issue> RuleBook::check(const History& history) const {
  std::vector<Issue> found;
  for (const Rule& rule : rules_) {
    std::vector<Issue> issues = rule.issues(history);
    std::move(issues.begin(), issues.end(), std::back_inserter(found));
  }
  return found;
}

std::vector<Issue> RuleBook::news(const std::vector<Issue>& issues) {
  std::vector<Issue> fresh;
  for (const Issue& issue : issues) {
    const auto [entry, first] = told_.try_emplace({issue.rule, issue.layer}, issue.step);
    if (first || issue.step - entry->second > options_.silence) {
      fresh.push_back(issue);
    }
    entry->second = issue.step;
  }
  return fresh;
}

}  // namespace gradwise
