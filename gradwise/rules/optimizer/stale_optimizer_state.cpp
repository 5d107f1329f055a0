#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct StaleOptimizerState {
  double factor = 10;
  std::int64_t first = 5;
  std::int64_t from = 20;
  std::int64_t to = 40;
};

template <class Fields>
void describe(Fields& fields, StaleOptimizerState& o) {
  fields.add("factor", o.factor, "how many times longer than later, for the same gradient, the first updates are",
             at_least(1));
  fields.add("first", o.first, "first steps of the training that are looked at", at_least(1));
  fields.add("from", o.from, "first of the steps that they are compared with", at_least(1));
  fields.add("to", o.to, "and the last", at_least(2));
}

// Median length of updates, median and greatest norm of gradients, between two steps of the training.
struct Stretch {
  double update = kNotMeasured;
  double gradient = kNotMeasured;
  double greatest = 0;
};

Stretch stretch_of(const History& history, std::int64_t from, std::int64_t to) {
  Stretch stretch;
  std::vector<double> updates;
  std::vector<double> gradients;
  for (std::int64_t i = from; i < to; ++i) {
    const StepInfo& info = history.steps()[static_cast<std::size_t>(i)].info;
    if (!info.skipped) {
      updates.push_back(info.update_norm);
      gradients.push_back(info.grad_norm_clipped >= 0 ? info.grad_norm_clipped : info.grad_norm);
      stretch.greatest = std::max(stretch.greatest, gradients.back());
    }
  }
  stretch.update = median_of(updates);
  stretch.gradient = median_of(gradients);
  return stretch;
}

void check(const History& history, const StaleOptimizerState& o, Sightings& seen) {
  const bool from_the_first = history.losses.size() == history.steps().size();
  if (!from_the_first || std::ssize(history.steps()) < o.to || o.first >= o.from || o.from >= o.to) {
    return;
  }
  const double lr = history.steps().front().info.lr;
  for (std::int64_t i = 0; i < o.to; ++i) {
    if (!(std::abs(history.steps()[static_cast<std::size_t>(i)].info.lr - lr) <= 0.01 * lr)) {
      return;
    }
  }
  const Stretch first = stretch_of(history, 0, o.first);
  const Stretch later = stretch_of(history, o.from, o.to);
  // By the greatest gradient: Adam's own first moments remember one outlier for long.
  const double times = (first.update / first.greatest) / (later.update / later.gradient);
  if (times > o.factor && first.update > o.factor * later.update && later.gradient > 0) {
    seen.push_back({"", times, o.factor,
                    "the first updates were " + figure(times) + " times longer, for the same gradient, than those of " +
                        "steps " + figure(static_cast<double>(o.from)) + " to " + figure(static_cast<double>(o.to))});
  }
}

}  // namespace

Rule stale_optimizer_state() {
  return make_rule<StaleOptimizerState>(
      {.name = "stale_optimizer_state",
       .about =
           "first updates that the gradients do not explain: the optimizer goes on with another training's moments",
       .advice = "begin with a new optimizer, or load the state that belongs to these weights"},
      check);
}

}  // namespace gradwise
