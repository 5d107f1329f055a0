#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct WideInitialization {
  double variance = 10;
  std::int64_t within = 10;
};

template <class Fields>
void describe(Fields& fields, WideInitialization& o) {
  fields.add("variance", o.variance, "variance times inputs of a unit that is too much; He's is 2", positive());
  fields.add("within", o.within, "first step that has to be read, to know how the weights began", at_least(1));
}

void check(const History& history, const WideInitialization& o, Sightings& seen) {
  const auto readings = history.readings_of_updates(History::kKeptSteps);
  // Batch norm makes the scale of the layers before it indifferent. Whether there is one, and whether the first weight
  // is a table of tokens, is known when graph and data have been read.
  const bool seen_enough = std::ssize(history.steps()) >= o.within;
  if (readings.empty() || readings[0]->step > o.within || !seen_enough ||
      !history.readings_with_batch_norms(1).empty()) {
    return;
  }
  for (const std::size_t i : layer_weights(history)) {
    const ParameterFacts& facts = history.facts.parameters[i];
    if (i >= readings[0]->parameters.size()) {
      continue;
    }
    const double fan_in = facts.elements() / static_cast<double>(facts.shape[0]);
    const double variance = variance_before(readings[0]->parameters[i], facts);
    if (fan_in > 1 && variance * fan_in > o.variance) {
      seen.push_back({facts.name, variance * fan_in, o.variance,
                      facts.name + " began with a variance of " + figure(variance) + " for " + figure(fan_in) +
                          " inputs: its outputs have " + figure(variance * fan_in) + " times their variance"});
    }
  }
}

}  // namespace

Rule wide_initialization() {
  return make_rule<WideInitialization>(
      {.name = "wide_initialization",
       .about = "a weight that begins far too large for its number of inputs",
       .advice = "initialise weights by He (ReLU) or Xavier (tanh, sigmoid): a variance of about 2 / inputs",
       .source = "He et al., Delving Deep into Rectifiers, 2015"},
      check);
}

}  // namespace gradwise
