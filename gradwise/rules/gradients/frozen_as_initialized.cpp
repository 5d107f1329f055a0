#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct FrozenAsInitialized {
  std::int64_t elements = 256;
};

template <class Fields>
void describe(Fields& fields, FrozenAsInitialized& o) {
  fields.add("elements", o.elements, "elements that a weight must have for its distribution to tell anything",
             at_least(32));
}

void check(const History& history, const FrozenAsInitialized& o, Sightings& seen) {
  if (history.empty()) {
    return;
  }
  for (const ParameterFacts& facts : history.facts.parameters) {
    if (!facts.trainable && facts.as_initialized && is_weight(facts) &&
        facts.elements() >= static_cast<double>(o.elements)) {
      seen.push_back({facts.name, kNotMeasured, kNotMeasured,
                      facts.name + " asks for no gradient, and its elements are spread as initial weights are: it may "
                                   "never have been trained"});
    }
  }
}

}  // namespace

Rule frozen_as_initialized() {
  return make_rule<FrozenAsInitialized>(
      {.name = "frozen_as_initialized",
       .about = "a frozen weight that still looks the way weights are initialised",
       .advice = "set requires_grad and give the parameter to the optimizer, or load the weights that it should have"},
      check);
}

}  // namespace gradwise
