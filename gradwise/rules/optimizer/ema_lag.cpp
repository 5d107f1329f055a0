#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct EmaLag {
  double distance = 0.3;
  std::int64_t values = 3;
  std::int64_t after = 200;
  double planned = 0.5;
};

template <class Fields>
void describe(Fields& fields, EmaLag& o) {
  fields.add("distance", o.distance, "distance of weights and averaged weights, over the weights' norm", positive());
  fields.add("values", o.values, "measured distances in a row that have to show it", at_least(1));
  fields.add("after", o.after, "steps before which an average may lag", at_least(0));
  fields.add("planned", o.planned, "and share of the planned steps: it is the end that counts", between(0, 1));
}

void check(const History& history, const EmaLag& o, Sightings& seen) {
  const auto planned = o.planned * static_cast<double>(history.facts.planned_steps);
  if (history.step() < o.after || static_cast<double>(history.step()) < planned) {
    return;
  }
  std::vector<double> distances;
  for (const StepReading* reading : history.readings_with_average(static_cast<std::size_t>(o.values))) {
    distances.push_back(reading->ema_distance);
  }
  const auto far = [&o](double distance) { return distance > o.distance; };
  if (std::ssize(distances) == o.values && std::all_of(distances.begin(), distances.end(), far)) {
    seen.push_back(
        {"", distances.back(), o.distance,
         "the averaged weights are " + figure(100 * distances.back()) + " % of the weights' norm away from them"});
  }
}

}  // namespace

Rule ema_lag() {
  return make_rule<EmaLag>({.name = "ema_lag",
                            .about = "the averaged weights lag far behind, late in the training",
                            .advice = "lower the decay of the average, or use its warm-up"},
                           check);
}

}  // namespace gradwise
