#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerWeightUpdateRatio {
  double large_threshold = 10;
  double small_threshold = 1e-8;
};

template <class Fields>
void describe(Fields& fields, SagemakerWeightUpdateRatio& o) {
  fields.add("large_threshold", o.large_threshold, "update over weight above which it speaks", positive());
  fields.add("small_threshold", o.small_threshold, "and below", positive());
}

void check(const History& history, const SagemakerWeightUpdateRatio& o, Sightings& seen) {
  if (history.empty() || !history.now().reading) {
    return;
  }
  const StepReading& now = *history.now().reading;
  for (std::size_t i = 0; i < now.parameters.size(); ++i) {
    const double ratio = now.parameters[i].update_ratio;
    if (ratio > o.large_threshold || (ratio < o.small_threshold && !history.now().info.skipped)) {
      const std::string& name = history.facts.parameters[i].name;
      seen.push_back({name, ratio, ratio > o.large_threshold ? o.large_threshold : o.small_threshold,
                      "an update of " + name + " over its weights is " + figure(ratio)});
    }
  }
}

}  // namespace

Rule sagemaker_weight_update_ratio() {
  return make_rule<SagemakerWeightUpdateRatio>(
      {
          .name = "sagemaker_weight_update_ratio",
          .about = "updates far too large or too small for their weights",
          .set = RuleSet::sagemaker,
          .advice = "change the learning rate",
          .source = "SageMaker Debugger, WeightUpdateRatio",
      },
      check);
}

}  // namespace gradwise
