#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SaturatedUnits {
  double share = 0.5;
  std::int64_t readings = 3;
};

template <class Fields>
void describe(Fields& fields, SaturatedUnits& o) {
  fields.add("share", o.share, "share of a layer's outputs where the slope has all but vanished", between(0, 1));
  fields.add("readings", o.readings, "readings in a row that have to show it", at_least(1));
}

// Hardtanh is left out: ReLU6 is one too, and rests at its lower bound half of the time.
bool may_saturate(const ActivationReading& activation) { return activation.op == "sigmoid" || activation.op == "tanh"; }

// The least share in the readings; 0 where they do not list the same activation at this place.
double least_saturated(const std::vector<const StepReading*>& readings, std::size_t at) {
  const ActivationReading& newest = readings.back()->activations[at];
  double least = 1;
  for (const StepReading* reading : readings) {
    if (at >= reading->activations.size() || reading->activations[at].layer != newest.layer ||
        reading->activations[at].op != newest.op || !(reading->activations[at].saturated >= 0)) {
      return 0;
    }
    least = std::min(least, reading->activations[at].saturated);
  }
  return least;
}

void check(const History& history, const SaturatedUnits& o, Sightings& seen) {
  const auto readings = history.readings_with_activations(static_cast<std::size_t>(o.readings));
  if (readings.size() < static_cast<std::size_t>(o.readings)) {
    return;
  }
  // An output may be as sure as it likes.
  const std::size_t hidden = hidden_activations(*readings.back(), history.facts);
  for (std::size_t i = 0; i < hidden; ++i) {
    const ActivationReading& newest = readings.back()->activations[i];
    const double saturated = may_saturate(newest) ? least_saturated(readings, i) : 0;
    if (saturated > o.share) {
      seen.push_back({newest.layer, saturated, o.share,
                      figure(100 * saturated) + " % of the outputs of the " + newest.op + " after " + newest.layer +
                          " are saturated: hardly any gradient passes"});
    }
  }
}

}  // namespace

Rule saturated_units() {
  return make_rule<SaturatedUnits>(
      {.name = "saturated_units",
       .about = "most outputs of a sigmoid or tanh lie where its slope vanishes",
       .advice = "use ReLU, normalise before the activation, or begin with smaller weights"},
      check);
}

}  // namespace gradwise
