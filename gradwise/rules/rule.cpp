#include "gradwise/rules/rule.h"

#include <cstdio>

#include "gradwise/core/nearest_name.h"
#include "gradwise/core/step_info.h"

namespace gradwise {

const char* name_of(RuleSet set) {
  switch (set) {
    case RuleSet::gradwise:
      return "gradwise";
    case RuleSet::sagemaker:
      return "sagemaker";
    case RuleSet::autotrainer:
      return "autotrainer";
  }
  return "";
}

std::vector<Issue> Rule::issues(const History& history) const {
  Sightings seen;
  check(history, seen);
  std::vector<Issue> found;
  for (Sighting& sighting : seen) {
    found.push_back({.severity = severity,
                     .rule = name,
                     .layer = std::move(sighting.layer),
                     .step = history.step(),
                     .value = sighting.value,
                     .threshold = sighting.threshold,
                     .message = std::move(sighting.message),
                     .advice = advice});
  }
  return found;
}

void Rule::set_parameter(const std::string& key, double value) {
  std::vector<std::string> known;
  for (RuleParameter& parameter : parameters) {
    if (parameter.key == key) {
      const std::string why = violation(value, parameter.allowed);
      GRADWISE_CHECK(why.empty(), "rules", name, ".", key, why);
      GRADWISE_CHECK(with_parameters, "rules", name, ".", key, " can't be set: the rule was made without make_rule");
      parameter.value = value;
      check = with_parameters(parameters);
      return;
    }
    known.push_back(parameter.key);
  }
  fail_usage("rules", name, " has no parameter \"", key, "\"", did_you_mean(key, known));
}

std::string figure(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", plain_nan(value));
  return text;
}

}  // namespace gradwise
