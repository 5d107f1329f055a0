#include <algorithm>
#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct LossPlateau {
  std::int64_t steps = 200;
  double of_first = 0.5;
  double fall = 0.01;
};

template <class Fields>
void describe(Fields& fields, LossPlateau& o) {
  fields.add("steps", o.steps, "kept losses that are needed", at_least(60));
  fields.add("of_first", o.of_first, "share of the first loss that it still has to be", between(0, 1));
  fields.add("fall", o.fall, "share by which an epoch's mean loss may be below that of the epoch before without a word",
             from_below(0, 1));
}

// A schedule is at work: the rate is lower than the highest of the steps that are kept.
bool rate_falls(const History& history) {
  const auto highest = std::max_element(history.steps().begin(), history.steps().end(),
                                        [](const auto& a, const auto& b) { return a.info.lr < b.info.lr; });
  return history.now().info.lr < 0.999 * highest->info.lr;
}

// By which share the mean loss of the last epoch is below that of the one before; of half the training where it has not
// lasted two epochs, and of at most as many steps as a history keeps as they were.
double fall_by_epoch(const History& history) {
  constexpr std::int64_t kMostSteps = 1000;
  const std::int64_t epoch = history.facts.steps_per_epoch > 0 ? history.facts.steps_per_epoch : kMostSteps;
  const std::int64_t span = std::min({epoch, kMostSteps, std::ssize(history.losses) / 2});
  const std::vector<double> losses = history.recent_losses(static_cast<std::size_t>(2 * span));
  const auto half = static_cast<std::ptrdiff_t>(losses.size() / 2);
  const double before = mean_of({losses.begin(), losses.begin() + half});
  return (before - mean_of({losses.begin() + half, losses.end()})) / std::abs(before);
}

void check(const History& history, const LossPlateau& o, Sightings& seen) {
  const std::vector<double> losses = history.recent_losses(History::kKeptSteps);
  if (std::ssize(losses) < o.steps) {
    return;
  }
  const auto third = static_cast<std::ptrdiff_t>(losses.size() / 3);
  const std::vector<double> last(losses.end() - third, losses.end());
  const double now = median_of(last);
  if (!(now > o.of_first * median_of(history.first_losses(5)))) {
    return;
  }
  const double fall = median_of({losses.end() - 2 * third, losses.end() - third}) - now;
  const double error = robust_deviation(last) / std::sqrt(static_cast<double>(third));
  if (fall < 2 * error && !rate_falls(history) && !(fall_by_epoch(history) > o.fall)) {
    seen.push_back({"", fall, 2 * error,
                    "the loss stands at " + figure(now) + " and has fallen by no more than its noise in the last " +
                        figure(static_cast<double>(2 * third)) + " steps"});
  }
}

}  // namespace

Rule loss_plateau() {
  return make_rule<LossPlateau>(
      {.name = "loss_plateau",
       .about = "the loss no longer falls, neither within nor between epochs, at a learning rate that stays; and it is "
                "still high",
       .severity = Severity::info,
       .advice = "try a higher learning rate or a schedule; look at the flow of the gradient"},
      check);
}

}  // namespace gradwise
