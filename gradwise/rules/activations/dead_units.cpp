#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct DeadUnits {
  double share = 0.5;
  std::int64_t readings = 3;
};

template <class Fields>
void describe(Fields& fields, DeadUnits& o) {
  fields.add("share", o.share, "share of a layer's units that no sample makes active", between(0, 1));
  fields.add("readings", o.readings, "readings in a row that have to show it", at_least(1));
}

// The least share of dead units that a layer had in the readings; all of them list the same activations.
double least_dead(const std::vector<const StepReading*>& readings, std::size_t activation) {
  double least = 1;
  for (const StepReading* reading : readings) {
    if (activation >= reading->activations.size() || !(reading->activations[activation].dead >= 0)) {
      return 0;
    }
    least = std::min(least, reading->activations[activation].dead);
  }
  return least;
}

void check(const History& history, const DeadUnits& o, Sightings& seen) {
  const auto readings = history.readings_with_activations(static_cast<std::size_t>(o.readings));
  if (readings.size() < static_cast<std::size_t>(o.readings)) {
    return;
  }
  const std::vector<ActivationReading>& newest = readings.back()->activations;
  for (std::size_t i = 0; i < newest.size(); ++i) {
    const double dead = least_dead(readings, i);
    if (dead > o.share) {
      seen.push_back({newest[i].layer, dead, o.share,
                      figure(100 * dead) + " % of the units of the " + newest[i].op + " after " + newest[i].layer +
                          " are dead: no sample makes them active"});
    }
  }
}

}  // namespace

Rule dead_units() {
  return make_rule<DeadUnits>(
      {.name = "dead_units",
       .about = "most units of a ReLU answer to no sample",
       .severity = Severity::error,
       .advice = "lower the learning rate, use He initialisation with zero biases, or a leaky ReLU"},
      check);
}

}  // namespace gradwise
