#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerSaturatedActivation {
  double threshold_layer = 0.5;
};

template <class Fields>
void describe(Fields& fields, SagemakerSaturatedActivation& o) {
  fields.add("threshold_layer", o.threshold_layer, "share of a layer's outputs that are saturated", between(0, 1));
}

void check(const History& history, const SagemakerSaturatedActivation& o, Sightings& seen) {
  const auto readings = history.readings_with_activations(1);
  if (readings.empty()) {
    return;
  }
  // Published for inputs beyond 9.4999 (tanh) and -23 or 17 (sigmoid); here it is the outputs whose slope is below 1 %.
  for (const ActivationReading& activation : readings.back()->activations) {
    const bool bounded = activation.op == "tanh" || activation.op == "sigmoid";
    if (bounded && activation.saturated > o.threshold_layer) {
      seen.push_back(
          {activation.layer, activation.saturated, o.threshold_layer,
           figure(100 * activation.saturated) + " % of the outputs of " + activation.layer + " are saturated"});
    }
  }
}

}  // namespace

Rule sagemaker_saturated_activation() {
  return make_rule<SagemakerSaturatedActivation>(
      {
          .name = "sagemaker_saturated_activation",
          .about = "most outputs of a tanh or sigmoid are saturated",
          .set = RuleSet::sagemaker,
          .advice = "normalise before the activation, begin with smaller weights",
          .source = "SageMaker Debugger, SaturatedActivation",
      },
      check);
}

}  // namespace gradwise
