#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct LearningRateTooHigh {
  double update_ratio = 0.1;
  std::int64_t readings = 10;
  std::int64_t shown = 5;
  double worse = 0.05;
  double worse_share = 0.95;
  double small_loss = 0.1;
  double fall = 0.1;
  std::int64_t after = 20;
};

template <class Fields>
void describe(Fields& fields, LearningRateTooHigh& o) {
  fields.add("update_ratio", o.update_ratio, "median over weights of update over weight that is too much", positive());
  fields.add("readings", o.readings, "newest readings, or measured losses after an update, that count", at_least(2));
  fields.add("shown", o.shown, "readings of these that have to show it", at_least(1));
  fields.add("worse", o.worse, "median rise of a batch's loss by its own update that is too much", positive());
  fields.add("worse_share", o.worse_share, "share of the updates that make their batch worse", between(0, 1));
  fields.add("small_loss", o.small_loss, "rises are taken relative to at least this share of the first losses",
             between(0, 1));
  fields.add("fall", o.fall, "a loss that fell by this share excuses large updates", from_below(0, 1));
  fields.add("after", o.after, "steps before which nothing is said", at_least(5));
}

// Readings in which the median weight moved further than the bound, and their median ratio.
std::pair<std::int64_t, double> large_updates(const History& history, const LearningRateTooHigh& o) {
  std::vector<double> large;
  for (const StepReading* reading : history.readings_of_updates(static_cast<std::size_t>(o.readings))) {
    std::vector<double> ratios;
    for (const std::size_t weight : weights_by_depth(history.facts)) {
      ratios.push_back(weight < reading->parameters.size() ? reading->parameters[weight].update_ratio : kNotMeasured);
    }
    const double usual = median_of(ratios);
    if (usual > o.update_ratio) {
      large.push_back(usual);
    }
  }
  return {std::ssize(large), median_of(large)};
}

// Relative rises of a batch's loss by its own update, newest first. Where the loss is small already, dropout and
// momentum make it jump by more than its size.
std::vector<double> rises(const History& history, const LearningRateTooHigh& o, double first_loss) {
  std::vector<double> found;
  for (auto record = history.steps().rbegin(); record != history.steps().rend(); ++record) {
    if (std::ssize(found) == o.readings) {
      break;
    }
    if (!record->info.skipped && record->reading && std::isfinite(record->reading->loss_after)) {
      const double before = record->info.loss;
      found.push_back((record->reading->loss_after - before) /
                      std::max(std::abs(before), o.small_loss * std::abs(first_loss)));
    }
  }
  return found;
}

void check(const History& history, const LearningRateTooHigh& o, Sightings& seen) {
  const auto first = std::find_if(history.losses.begin(), history.losses.end(), [](double x) { return x == x; });
  const std::vector<double> newest = history.recent_losses(static_cast<std::size_t>(o.after));
  if (first == history.losses.end() || std::ssize(newest) < o.after) {
    return;
  }
  // Against the very first loss: too high a rate may throw the loss up at once, from where it can but fall.
  if (*first - median_of(newest) >= o.fall * std::abs(*first)) {
    return;
  }
  const auto [large, ratio] = large_updates(history, o);
  if (large >= o.shown) {
    seen.push_back(
        {"", ratio, o.update_ratio,
         "a step changes weights by " + figure(100 * ratio) + " % of their size, and the loss does not fall"});
    return;
  }
  const std::vector<double> relative = rises(history, o, *first);
  const auto worse =
      static_cast<double>(std::count_if(relative.begin(), relative.end(), [](double rise) { return rise > 0; }));
  const double rise = median_of(relative);
  if (std::ssize(relative) == o.readings && worse > o.worse_share * static_cast<double>(o.readings) && rise > o.worse) {
    seen.push_back({"", rise, o.worse,
                    figure(worse) + " of " + figure(static_cast<double>(o.readings)) +
                        " updates raised the loss of their own batch, by " + figure(100 * rise) + " % in the median"});
  }
}

}  // namespace

Rule learning_rate_too_high() {
  return make_rule<LearningRateTooHigh>(
      {.name = "learning_rate_too_high",
       .about = "updates that are large beside the weights, or that make their own batch worse, and no progress",
       .severity = Severity::error,
       .advice = "divide the learning rate by 10; a warm-up helps too"},
      check);
}

}  // namespace gradwise
