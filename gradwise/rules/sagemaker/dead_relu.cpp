#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerDeadRelu {
  double threshold_layer = 0.5;
};

template <class Fields>
void describe(Fields& fields, SagemakerDeadRelu& o) {
  fields.add("threshold_layer", o.threshold_layer, "share of a layer's units that are inactive", between(0, 1));
}

void check(const History& history, const SagemakerDeadRelu& o, Sightings& seen) {
  const auto readings = history.readings_with_activations(1);
  if (readings.empty()) {
    return;
  }
  // A unit that is active less than 1 % of the time is taken here as one that no sample of the batch makes active.
  for (const ActivationReading& activation : readings.back()->activations) {
    if (activation.op == "relu" && activation.dead > o.threshold_layer) {
      seen.push_back({activation.layer, activation.dead, o.threshold_layer,
                      figure(100 * activation.dead) + " % of the units of " + activation.layer + " are inactive"});
    }
  }
}

}  // namespace

Rule sagemaker_dead_relu() {
  return make_rule<SagemakerDeadRelu>(
      {
          .name = "sagemaker_dead_relu",
          .about = "most units of a ReLU are inactive",
          .set = RuleSet::sagemaker,
          .advice = "use a leaky ReLU, lower the learning rate",
          .source = "SageMaker Debugger, DeadRelu",
      },
      check);
}

}  // namespace gradwise
