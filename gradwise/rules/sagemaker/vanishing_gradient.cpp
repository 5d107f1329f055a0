#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct VanishingGradient {
  double threshold = 1e-7;
};

template <class Fields>
void describe(Fields& fields, VanishingGradient& o) {
  fields.add("threshold", o.threshold, "mean magnitude of a gradient below which it has vanished", positive());
}

void check(const History& history, const VanishingGradient& o, Sightings& seen) {
  if (history.empty() || !history.now().reading) {
    return;
  }
  const StepReading& now = *history.now().reading;
  for (std::size_t i = 0; i < now.parameters.size(); ++i) {
    const double mean = now.parameters[i].grad_mean_abs;
    if (!now.parameters[i].missing && mean < o.threshold) {
      const std::string& name = history.facts.parameters[i].name;
      seen.push_back({name, mean, o.threshold,
                      "the gradient of " + name + " has vanished: its mean magnitude is " + figure(mean)});
    }
  }
}

}  // namespace

Rule sagemaker_vanishing_gradient() {
  return make_rule<VanishingGradient>({.name = "sagemaker_vanishing_gradient",
                                       .about = "mean magnitude of a gradient below a bound",
                                       .set = RuleSet::sagemaker,
                                       .advice = "use ReLU-like activations, normalisation or residual connections",
                                       .source = "SageMaker Debugger, VanishingGradient"},
                                      check);
}

}  // namespace gradwise
