#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerTensorVariance {
  double max_threshold = 1e300;
  double min_threshold = 0;
};

template <class Fields>
void describe(Fields& fields, SagemakerTensorVariance& o) {
  fields.add("max_threshold", o.max_threshold, "variance of a gradient above which it speaks", positive());
  fields.add("min_threshold", o.min_threshold, "and below", at_least(0));
}

void check(const History& history, const SagemakerTensorVariance& o, Sightings& seen) {
  if (history.empty() || !history.now().reading) {
    return;
  }
  const StepReading& now = *history.now().reading;
  for (std::size_t i = 0; i < now.parameters.size(); ++i) {
    const double variance = now.parameters[i].grad_variance;
    if (variance > o.max_threshold || variance < o.min_threshold) {
      const std::string& name = history.facts.parameters[i].name;
      seen.push_back({name, variance, variance > o.max_threshold ? o.max_threshold : o.min_threshold,
                      "the variance of the gradient of " + name + " is " + figure(variance)});
    }
  }
}

}  // namespace

Rule sagemaker_tensor_variance() {
  return make_rule<SagemakerTensorVariance>(
      {
          .name = "sagemaker_tensor_variance",
          .about = "a gradient's variance out of the bounds that were set; none are published",
          .set = RuleSet::sagemaker,
          .advice = "change initialisation or learning rate",
          .source = "SageMaker Debugger, TensorVariance",
      },
      check);
}

}  // namespace gradwise
