#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct NarrowInitialization {
  double variance = 1e-3;
  std::int64_t within = 10;
};

template <class Fields>
void describe(Fields& fields, NarrowInitialization& o) {
  fields.add("variance", o.variance, "variance times inputs of a unit that is too little; He's is 2", positive());
  fields.add("within", o.within, "first step that has to be read, to know how the weights began", at_least(1));
}

void check(const History& history, const NarrowInitialization& o, Sightings& seen) {
  const auto readings = history.readings_of_updates(History::kKeptSteps);
  const bool seen_enough = std::ssize(history.steps()) >= o.within;  // graph and data have been read by then
  if (readings.empty() || readings[0]->step > o.within || !seen_enough ||
      !history.readings_with_batch_norms(1).empty()) {
    return;
  }
  std::vector<std::size_t> weights = layer_weights(history);
  if (!weights.empty()) {
    weights.pop_back();  // a last layer may begin small: the first outputs are near 0 then
  }
  for (const std::size_t i : weights) {
    const ParameterFacts& facts = history.facts.parameters[i];
    if (i >= readings[0]->parameters.size()) {
      continue;
    }
    const double fan_in = facts.elements() / static_cast<double>(facts.shape[0]);
    const double variance = variance_before(readings[0]->parameters[i], facts);
    const double mean = readings[0]->parameters[i].weight_mean;
    // A constant is no narrow variety, and has a rule of its own; so have zeros, which LoRA begins with.
    const bool varies = variance > 0 && variance > mean * mean;
    if (fan_in > 1 && varies && variance * fan_in < o.variance) {
      seen.push_back({facts.name, variance * fan_in, o.variance,
                      facts.name + " began with a variance of " + figure(variance) + " for " + figure(fan_in) +
                          " inputs: what it is given all but vanishes"});
    }
  }
}

}  // namespace

Rule narrow_initialization() {
  return make_rule<NarrowInitialization>(
      {.name = "narrow_initialization",
       .about = "a weight that begins far too small for its number of inputs",
       .advice = "initialise weights by He (ReLU) or Xavier (tanh, sigmoid): a variance of about 2 / inputs",
       .source = "He et al., Delving Deep into Rectifiers, 2015"},
      check);
}

}  // namespace gradwise
