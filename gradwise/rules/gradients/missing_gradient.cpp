#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct MissingGradient {
  std::int64_t readings = 10;
};

template <class Fields>
void describe(Fields& fields, MissingGradient& o) {
  fields.add("readings", o.readings, "readings in a row without a gradient: layers may be dropped at random",
             at_least(1));
}

bool missing_throughout(const std::vector<const StepReading*>& readings, std::size_t parameter) {
  return std::all_of(readings.begin(), readings.end(), [parameter](const StepReading* reading) {
    return parameter < reading->parameters.size() && reading->parameters[parameter].missing;
  });
}

bool some_gradient(const StepReading* reading) {
  return std::any_of(reading->parameters.begin(), reading->parameters.end(),
                     [](const ParameterReading& p) { return !p.missing && p.grad_norm >= 0; });
}

void check(const History& history, const MissingGradient& o, Sightings& seen) {
  const auto readings = history.readings_of_updates(static_cast<std::size_t>(o.readings));
  if (readings.size() < static_cast<std::size_t>(o.readings) ||
      !std::all_of(readings.begin(), readings.end(), some_gradient)) {
    return;
  }
  for (std::size_t i = 0; i < history.facts.parameters.size(); ++i) {
    const ParameterFacts& facts = history.facts.parameters[i];
    if (facts.trainable && missing_throughout(readings, i)) {
      const auto count = static_cast<double>(readings.size());
      seen.push_back({facts.name, count, static_cast<double>(o.readings),
                      "no backward pass reached " + facts.name + " in the last " + figure(count) + " readings"});
    }
  }
}

}  // namespace

Rule missing_gradient() {
  return make_rule<MissingGradient>(
      {.name = "missing_gradient",
       .about = "a parameter that asks for a gradient and never gets one",
       .severity = Severity::error,
       .advice = "look for detach(), no_grad or a layer that forward does not use on the way from here to the loss"},
      check);
}

}  // namespace gradwise
