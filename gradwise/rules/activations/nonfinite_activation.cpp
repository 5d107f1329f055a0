#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct NonfiniteActivation {
  double share = 0;
};

template <class Fields>
void describe(Fields& fields, NonfiniteActivation& o) {
  fields.add("share", o.share, "share of an activation's elements that may be NaN or infinite", from_below(0, 1));
}

void check(const History& history, const NonfiniteActivation& o, Sightings& seen) {
  const auto readings = history.readings_with_activations(1);
  if (readings.empty()) {
    return;
  }
  for (const ActivationReading& activation : readings[0]->activations) {
    // Masked scores are -inf on purpose; their logarithms are, too.
    if (activation.op != "log_softmax" && activation.nonfinite > o.share &&
        !spoilt_before(history, readings[0]->step)) {
      seen.push_back({activation.layer, activation.nonfinite, o.share,
                      figure(100 * activation.nonfinite) + " % of the elements at the " + activation.op + " after " +
                          activation.layer + " are NaN or infinite; no activation before it has any"});
      return;
    }
  }
}

}  // namespace

Rule nonfinite_activation() {
  return make_rule<NonfiniteActivation>(
      {.name = "nonfinite_activation",
       .about = "NaN or infinity in an activation; names the first from the input",
       .severity = Severity::error,
       .advice = "look at this layer's weights and inputs: an overflow, a division by 0 or a row that is masked whole"},
      check);
}

}  // namespace gradwise
