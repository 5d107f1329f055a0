#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct StrongWeightDecay {
  double shrink = 0.5;
  std::int64_t steps = 100;
  double fall = 0.05;
  double a_step = 5e-3;
  double usual = 0.05;
};

template <class Fields>
void describe(Fields& fields, StrongWeightDecay& o) {
  fields.add("shrink", o.shrink, "share of their norm that the weights may lose", between(0, 1));
  fields.add("steps", o.steps, "steps that have to be seen", at_least(5));
  fields.add("fall", o.fall, "a loss that fell by this share meanwhile excuses it", from_below(0, 1));
  fields.add("a_step", o.a_step, "unless learning rate times decay, what a step takes off, is above this", positive());
  fields.add("usual", o.usual, "a decoupled decay (AdamW) that is never at fault: the learning rate is, then",
             at_least(0));
}

// The share that is left of what the kept steps began with; NaN where the norm was not taken.
double share_left(const History& history) {
  double first = kNotMeasured;
  double last = kNotMeasured;
  for (const StepRecord& record : history.steps()) {
    if (record.info.param_norm > 0) {
      first = first > 0 ? first : record.info.param_norm;
      last = record.info.param_norm;
    }
  }
  return last / first;
}

double median_share_left(const History& history) {
  const auto readings = history.readings_of_updates(History::kKeptSteps);
  std::vector<double> left;
  for (const std::size_t i : weights_by_depth(history.facts)) {
    std::vector<double> norms = figures_of(readings, i, &ParameterReading::weight_norm);
    std::erase_if(norms, [](double norm) { return !(norm > 0); });
    left.push_back(norms.empty() ? kNotMeasured : norms.back() / norms.front());
  }
  return median_of(left);
}

void check(const History& history, const StrongWeightDecay& o, Sightings& seen) {
  if (!(history.facts.weight_decay > (history.facts.decoupled_decay ? o.usual : 0)) ||
      std::ssize(history.steps()) < o.steps || history.steps().front().info.skipped) {
    return;
  }
  const double a_step = history.now().info.lr * history.facts.weight_decay;
  if (!(fall_of(history.recent_losses(history.steps().size())) < o.fall) && !(a_step > o.a_step)) {
    return;
  }
  const double left = std::fmin(share_left(history), median_share_left(history));
  if (left < 1 - o.shrink) {
    seen.push_back({"", left, 1 - o.shrink,
                    "the weights have shrunk to " + figure(100 * left) + " % in the last " +
                        figure(static_cast<double>(history.steps().size())) + " steps (weight decay " +
                        figure(history.facts.weight_decay) + " takes off " + figure(100 * a_step) + " % a step)"});
  }
}

}  // namespace

Rule strong_weight_decay() {
  return make_rule<StrongWeightDecay>({.name = "strong_weight_decay",
                                       .about = "weight decay outweighs the loss: weights shrink and nothing is learnt",
                                       .advice = "divide the weight decay by 10"},
                                      check);
}

}  // namespace gradwise
