#include <algorithm>
#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct AutotrainerExplodingGradient {
  double ratio = 70;
  double active_below = 0.7;
};

template <class Fields>
void describe(Fields& fields, AutotrainerExplodingGradient& o) {
  fields.add("ratio", o.ratio, "first layer's gradient over the last layer's", positive());
  fields.add("active_below", o.active_below, "best accuracy up to which it looks", between(0, 1));
}

// It looks only at trainings that have not reached this accuracy.
double best_accuracy_e(const History& history) {
  double best = 0;
  for (const BatchReading* batch : history.batches(History::kKeptSteps)) {
    best = std::max(best, std::isnan(batch->accuracy) ? 0 : batch->accuracy);
  }
  return best;
}

void check(const History& history, const AutotrainerExplodingGradient& o, Sightings& seen) {
  if (history.empty() || !history.now().reading || best_accuracy_e(history) > o.active_below) {
    return;
  }
  const std::vector<std::size_t> weights = weights_by_depth(history.facts);
  const StepReading& now = *history.now().reading;
  if (weights.size() < 2 || weights.back() >= now.parameters.size()) {
    return;
  }
  const double first = now.parameters[weights.front()].grad_norm;
  const double last = now.parameters[weights.back()].grad_norm;
  const bool broken = history.now().info.skipped || has_nonfinite_loss(history.now().info);
  if (first / last > o.ratio || broken) {
    seen.push_back({history.facts.parameters[weights.front()].name, first / last, o.ratio,
                    "the first layer's gradient is " + figure(first / last) + " times the last layer's"});
  }
}

}  // namespace

Rule autotrainer_exploding_gradient() {
  return make_rule<AutotrainerExplodingGradient>(
      {
          .name = "autotrainer_exploding_gradient",
          .about = "the gradient grows on its way down, or is NaN",
          .set = RuleSet::autotrainer,
          .advice = "clip gradients",
          .source = "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair System, ICSE 2021, section IV",
      },
      check);
}

}  // namespace gradwise
