#include "gradwise/optim/parameter_groups.h"

#include <algorithm>

#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"

namespace gradwise {
namespace {

GroupSetting setting_of(const OptimizerOptions& options, const std::vector<GroupRule>& rules, const std::string& name,
                        const at::Tensor& parameter) {
  GroupSetting setting{options.lr, options.weight_decay};
  if (!options.decay_vectors && parameter.dim() <= 1) {
    setting.weight_decay = 0;
  }
  for (const GroupRule& rule : rules) {
    if (matches_pattern(name, rule.pattern)) {
      return {rule.lr.value_or(setting.lr), rule.weight_decay.value_or(setting.weight_decay)};
    }
  }
  return setting;
}

}  // namespace

std::vector<GroupedParameters> group_parameters(const OptimizerOptions& options, const NamedParameters& parameters) {
  std::vector<GroupRule> rules;
  for (const std::string& text : options.groups) {
    rules.push_back(parse_group_rule(text));
    const auto& pattern = rules.back().pattern;
    const bool used =
        std::ranges::any_of(parameters.names, [&pattern](const auto& n) { return matches_pattern(n, pattern); });
    GRADWISE_CHECK(used, "optimizer", "groups: no parameter's name matches \"", pattern, "\"",
                   did_you_mean(pattern, parameters.names));
  }
  std::vector<GroupedParameters> groups;
  for (const bool trained : {true, false}) {
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      if (parameters.tensors[i].requires_grad() != trained) {
        continue;
      }
      const GroupSetting setting = setting_of(options, rules, parameters.names[i], parameters.tensors[i]);
      auto found = std::ranges::find(groups, setting, &GroupedParameters::setting);
      if (found == groups.end()) {
        found = groups.insert(found, {setting, {}});
      }
      found->tensors.push_back(parameters.tensors[i]);
    }
  }
  return groups;
}

}  // namespace gradwise
