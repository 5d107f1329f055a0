#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct MissingActivation {
  std::int64_t weights = 2;
  std::int64_t readings = 3;
};

template <class Fields>
void describe(Fields& fields, MissingActivation& o) {
  fields.add("weights", o.weights, "weights that a model needs to want an activation between them", at_least(2));
  fields.add("readings", o.readings, "readings of the graph in a row that list none", at_least(1));
}

// Convolutions may have their nonlinearity in pooling, and recurrent cells hide theirs in one fused operator.
bool is_dense(const History& history, std::size_t weight) {
  const ParameterFacts& facts = history.facts.parameters[weight];
  const auto named = [&facts](const char* part) { return facts.name.find(part) != std::string::npos; };
  return facts.shape.size() == 2 && !named("_ih") && !named("_hh") && !named("rnn") && !named("lstm") && !named("gru");
}

void check(const History& history, const MissingActivation& o, Sightings& seen) {
  const auto readings = history.readings_with_loss_path(static_cast<std::size_t>(o.readings));
  if (readings.size() < static_cast<std::size_t>(o.readings)) {
    return;
  }
  const std::vector<std::size_t> weights = layer_weights(history);
  if (std::ssize(weights) < o.weights) {
    return;
  }
  const bool dense = std::all_of(weights.begin(), weights.end(), [&](std::size_t i) { return is_dense(history, i); });
  const bool none = std::all_of(readings.begin(), readings.end(), [&history](const StepReading* reading) {
    return hidden_activations(*reading, history.facts) == 0;
  });
  if (dense && none) {
    const auto count = static_cast<double>(weights.size());
    seen.push_back({"", count, static_cast<double>(o.weights),
                    "there is no activation between the " + figure(count) +
                        " layers: together they are no more than one linear layer"});
  }
}

}  // namespace

Rule missing_activation() {
  return make_rule<MissingActivation>({.name = "missing_activation",
                                       .about = "several dense layers and no activation between them",
                                       .advice = "put an activation (ReLU) after each layer but the last"},
                                      check);
}

}  // namespace gradwise
