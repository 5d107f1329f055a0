#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerAllZero {
  double threshold = 1;
};

template <class Fields>
void describe(Fields& fields, SagemakerAllZero& o) {
  fields.add("threshold", o.threshold, "share of zeros", between(0, 1));
}

void check(const History& history, const SagemakerAllZero& o, Sightings& seen) {
  if (history.empty() || !history.now().reading) {
    return;
  }
  const StepReading& now = *history.now().reading;
  for (std::size_t i = 0; i < now.parameters.size(); ++i) {
    if (!now.parameters[i].missing && now.parameters[i].grad_zeros >= o.threshold) {
      const std::string& name = history.facts.parameters[i].name;
      seen.push_back(
          {name, now.parameters[i].grad_zeros, o.threshold, "every element of the gradient of " + name + " is 0"});
    }
  }
}

}  // namespace

Rule sagemaker_all_zero() {
  return make_rule<SagemakerAllZero>(
      {
          .name = "sagemaker_all_zero",
          .about = "a gradient of zeros",
          .set = RuleSet::sagemaker,
          .advice = "look for dead units, or a part that the loss does not depend on",
          .source = "SageMaker Debugger, AllZero",
      },
      check);
}

}  // namespace gradwise
