#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct WeightGrowth {
  double factor = 5;
  std::int64_t readings = 30;
  double fall = 0.05;
};

template <class Fields>
void describe(Fields& fields, WeightGrowth& o) {
  fields.add("factor", o.factor, "how many times its norm a weight may grow", at_least(1));
  fields.add("readings", o.readings, "readings that have to be seen", at_least(2));
  fields.add("fall", o.fall, "a loss that fell by this share meanwhile excuses it", from_below(0, 1));
}

// Norm of a weight that begins as is usual, with a variance of 1 / fan_in: those that begin at 0 may grow up to it.
double usual_norm(const ParameterFacts& facts) { return std::sqrt(static_cast<double>(facts.shape[0])); }

void check(const History& history, const WeightGrowth& o, Sightings& seen) {
  const auto readings = history.readings_of_updates(History::kKeptSteps);
  if (std::ssize(readings) < o.readings || !(fall_of(history.recent_losses(history.steps().size())) < o.fall)) {
    return;
  }
  for (const std::size_t i : layer_weights(history)) {
    const ParameterFacts& facts = history.facts.parameters[i];
    const std::vector<double> norms = figures_of(readings, i, &ParameterReading::weight_norm);
    const auto measured = std::find_if(norms.begin(), norms.end(), [](double norm) { return norm >= 0; });
    if (measured == norms.end()) {
      continue;
    }
    const double bound = o.factor * std::max(*measured, usual_norm(facts));
    if (norms.back() > bound) {
      seen.push_back({facts.name, norms.back(), bound,
                      "the norm of " + facts.name + " has grown from " + figure(*measured) + " to " +
                          figure(norms.back()) + ", and the loss has not fallen"});
    }
  }
}

}  // namespace

Rule weight_growth() {
  return make_rule<WeightGrowth>({.name = "weight_growth",
                                  .about = "a weight that grows without bound while the loss does not fall",
                                  .advice = "lower the learning rate, add weight decay or normalisation"},
                                 check);
}

}  // namespace gradwise
