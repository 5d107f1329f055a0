#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct LearningRateTooLow {
  double update_ratio = 5e-6;
  std::int64_t after = 100;
  std::int64_t readings = 20;
  double fall = 0.05;
  double of_highest = 0.5;
  double crept = 0.4;
  double moved = 1e-3;
};

template <class Fields>
void describe(Fields& fields, LearningRateTooLow& o) {
  fields.add("update_ratio", o.update_ratio, "median over weights of update over weight that is too little",
             positive());
  fields.add("after", o.after, "steps that have to be seen", at_least(10));
  fields.add("readings", o.readings, "readings whose median counts", at_least(1));
  fields.add("fall", o.fall, "a loss that has fallen by this share since the first step is well", from_below(0, 1));
  fields.add("crept", o.crept, "one that has fallen by this share is well even while it still falls", from_below(0, 1));
  fields.add("of_highest", o.of_highest, "share of the highest rate that is kept below which it is being lowered",
             between(0, 1));
  fields.add("moved", o.moved, "median update ratio that, once seen, shows that the rate was high enough", positive());
}

// Of any of the readings: the largest median over weights.
double largest_ratio(const History& history) {
  double largest = 0;
  for (const StepReading* reading : history.readings_of_updates(History::kKeptSteps)) {
    std::vector<double> ratios;
    for (const std::size_t i : weights_by_depth(history.facts)) {
      ratios.push_back(i < reading->parameters.size() ? reading->parameters[i].update_ratio : kNotMeasured);
    }
    largest = std::fmax(largest, median_of(ratios));
  }
  return largest;
}

// Small on purpose: on its way up in a warm-up, or down at the end of a schedule.
bool scheduled_low(const History& history, const LearningRateTooLow& o) {
  double highest = 0;
  for (const StepRecord& record : history.steps()) {
    highest = std::max(highest, record.info.lr);
  }
  return !(history.now().info.lr >= o.of_highest * highest) ||
         rate_rises(history, static_cast<std::size_t>(o.after) / 2);
}

// A little has been learnt, and the loss is still on its way down: more could be learnt, faster.
bool creeps(const History& history, const LearningRateTooLow& o) {
  return fall_of(history.recent_losses(history.losses.size())) < o.crept &&
         fall_of(history.recent_losses(static_cast<std::size_t>(o.after))) > 0.5 * o.fall;
}

void check(const History& history, const LearningRateTooLow& o, Sightings& seen) {
  if (std::ssize(history.steps()) < o.after) {
    return;
  }
  const auto readings = history.readings_of_updates(static_cast<std::size_t>(o.readings));
  std::vector<double> ratios;
  for (const std::size_t weight : weights_by_depth(history.facts)) {
    ratios.push_back(median_of(figures_of(readings, weight, &ParameterReading::update_ratio)));
  }
  const double usual = median_of(ratios);
  if (std::ssize(readings) == o.readings && usual < o.update_ratio && !scheduled_low(history, o) &&
      largest_ratio(history) < o.moved &&
      (fall_of(history.recent_losses(history.losses.size())) < o.fall || creeps(history, o))) {
    seen.push_back({"", usual, o.update_ratio,
                    (usual > 0 ? "a step changes weights by " + figure(usual) + " of their size"
                               : std::string("steps leave the weights as they are")) +
                        ": the loss stays where it began, or creeps down"});
  }
}

}  // namespace

Rule learning_rate_too_low() {
  return make_rule<LearningRateTooLow>({.name = "learning_rate_too_low",
                                        .about = "updates that are tiny beside the weights, and no progress at all",
                                        .advice = "multiply the learning rate by 10"},
                                       check);
}

}  // namespace gradwise
