#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct ExplodingFlow {
  double ratio = 1e4;
  std::int64_t readings = 10;
};

template <class Fields>
void describe(Fields& fields, ExplodingFlow& o) {
  fields.add("ratio", o.ratio, "the first layer's RMS gradient over the last layer's, above which the flow explodes",
             at_least(1));
  fields.add("readings", o.readings, "readings whose median counts", at_least(2));
}

// The median over readings of the first weight's RMS gradient over the last one's.
double growth_by_depth(const History& history, const std::vector<const StepReading*>& readings, std::size_t first,
                       std::size_t last) {
  const std::vector<double> above = figures_of(readings, first, &ParameterReading::grad_norm);
  const std::vector<double> below = figures_of(readings, last, &ParameterReading::grad_norm);
  std::vector<double> ratios;
  for (std::size_t i = 0; i < above.size(); ++i) {
    ratios.push_back(below[i] > 0 ? above[i] / below[i] : kNotMeasured);
  }
  return median_of(ratios) *
         std::sqrt(history.facts.parameters[last].elements() / history.facts.parameters[first].elements());
}

void check(const History& history, const ExplodingFlow& o, Sightings& seen) {
  const auto readings = history.readings_of_updates(static_cast<std::size_t>(o.readings));
  const std::vector<std::size_t> weights = layer_weights(history);
  if (readings.size() < static_cast<std::size_t>(o.readings) || weights.size() < 2) {
    return;
  }
  const double ratio = growth_by_depth(history, readings, weights.front(), weights.back());
  if (ratio > o.ratio) {
    const std::string& name = history.facts.parameters[weights.front()].name;
    seen.push_back({name, ratio, o.ratio,
                    "the gradient grows on its way down: that of " + name + " is " + figure(ratio) + " times that of " +
                        history.facts.parameters[weights.back()].name});
  }
}

}  // namespace

Rule exploding_flow() {
  return make_rule<ExplodingFlow>({.name = "exploding_flow",
                                   .about = "the gradient grows from layer to layer on its way to the input",
                                   .severity = Severity::error,
                                   .advice = "use smaller initial weights (He or Xavier), or normalise between layers"},
                                  check);
}

}  // namespace gradwise
