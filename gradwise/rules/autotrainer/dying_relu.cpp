#include <algorithm>
#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct AutotrainerDyingRelu {
  double share = 0.7;
  double active_below = 0.7;
};

template <class Fields>
void describe(Fields& fields, AutotrainerDyingRelu& o) {
  fields.add("share", o.share, "share of zero gradients", between(0, 1));
  fields.add("active_below", o.active_below, "best accuracy up to which it looks", between(0, 1));
}

// It looks only at trainings that have not reached this accuracy.
double best_accuracy_d(const History& history) {
  double best = 0;
  for (const BatchReading* batch : history.batches(History::kKeptSteps)) {
    best = std::max(best, std::isnan(batch->accuracy) ? 0 : batch->accuracy);
  }
  return best;
}

void check(const History& history, const AutotrainerDyingRelu& o, Sightings& seen) {
  if (history.empty() || !history.now().reading || best_accuracy_d(history) > o.active_below) {
    return;
  }
  const StepReading& now = *history.now().reading;
  const bool rectified = std::any_of(now.activations.begin(), now.activations.end(),
                                     [](const ActivationReading& a) { return a.op == "relu"; });
  for (std::size_t i = 0; rectified && i < now.parameters.size(); ++i) {
    if (is_weight(history.facts.parameters[i]) && now.parameters[i].grad_zeros >= o.share) {
      const std::string& name = history.facts.parameters[i].name;
      seen.push_back({name, now.parameters[i].grad_zeros, o.share,
                      figure(100 * now.parameters[i].grad_zeros) + " % of the gradient of " + name + " is 0"});
    }
  }
}

}  // namespace

Rule autotrainer_dying_relu() {
  return make_rule<AutotrainerDyingRelu>(
      {
          .name = "autotrainer_dying_relu",
          .about = "mostly zero gradients under a ReLU",
          .set = RuleSet::autotrainer,
          .advice = "use a leaky ReLU or SELU",
          .source = "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair System, ICSE 2021, section IV",
      },
      check);
}

}  // namespace gradwise
