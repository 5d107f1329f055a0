#include "gradwise/optim/optimizer_options.h"

#include <sstream>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

double parse_number(const std::string& rule, const std::string& text) {
  std::size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  GRADWISE_CHECK(used == text.size() && !text.empty() && value >= 0, "optimizer", "groups: in \"", rule,
                 "\" the value \"", text, "\" is not a number >= 0");
  return value;
}

}  // namespace

GroupRule parse_group_rule(const std::string& text) {
  std::istringstream words(text);
  GroupRule rule;
  GRADWISE_CHECK(words >> rule.pattern, "optimizer",
                 "groups: a rule is empty, allowed: \"pattern lr=... weight_decay=...\"");
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    GRADWISE_CHECK(equals != std::string::npos && (key == "lr" || key == "weight_decay"), "optimizer", "groups: \"",
                   word, "\" in \"", text, "\", allowed: lr=<number>, weight_decay=<number>");
    (key == "lr" ? rule.lr : rule.weight_decay) = parse_number(text, word.substr(equals + 1));
  }
  return rule;
}

const std::vector<std::string>& optimizer_names() {
  static const std::vector<std::string> names{"adamw", "adam", "sgd", "rmsprop", "adagrad", "lion", "lbfgs"};
  return names;
}

}  // namespace gradwise
