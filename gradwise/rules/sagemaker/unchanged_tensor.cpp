#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerUnchangedTensor {
  double rtol = 1e-5;
  double atol = 1e-8;
  std::int64_t num_steps = 3;
};

template <class Fields>
void describe(Fields& fields, SagemakerUnchangedTensor& o) {
  fields.add("rtol", o.rtol, "relative tolerance", at_least(0));
  fields.add("atol", o.atol, "absolute tolerance", at_least(0));
  fields.add("num_steps", o.num_steps, "steps in a row", at_least(1));
}

void check(const History& history, const SagemakerUnchangedTensor& o, Sightings& seen) {
  const auto readings = history.readings(static_cast<std::size_t>(o.num_steps));
  if (std::ssize(readings) < o.num_steps) {
    return;
  }
  // Of the update's norm, where the rule as published compares element by element.
  for (std::size_t i = 0; i < history.facts.parameters.size(); ++i) {
    const bool unchanged = std::all_of(readings.begin(), readings.end(), [&o, i](const StepReading* reading) {
      return i < reading->parameters.size() &&
             reading->parameters[i].update_norm <= o.atol + o.rtol * reading->parameters[i].weight_norm;
    });
    if (unchanged) {
      const std::string& name = history.facts.parameters[i].name;
      seen.push_back({name, readings.back()->parameters[i].update_norm, o.rtol, name + " does not change"});
    }
  }
}

}  // namespace

Rule sagemaker_unchanged_tensor() {
  return make_rule<SagemakerUnchangedTensor>(
      {
          .name = "sagemaker_unchanged_tensor",
          .about = "a parameter does not change",
          .set = RuleSet::sagemaker,
          .advice = "see that the optimizer has it and that it gets a gradient",
          .source = "SageMaker Debugger, UnchangedTensor",
      },
      check);
}

}  // namespace gradwise
