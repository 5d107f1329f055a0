#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct LossPlateau {
  std::int64_t steps = 200;
  double of_first = 0.5;
};

template <class Fields>
void describe(Fields& fields, LossPlateau& o) {
  fields.add("steps", o.steps, "kept losses that are needed", at_least(60));
  fields.add("of_first", o.of_first, "share of the first loss that it still has to be", between(0, 1));
}

void check(const History& history, const LossPlateau& o, Sightings& seen) {
  const std::vector<double> losses = history.recent_losses(History::kKeptSteps);
  if (std::ssize(losses) < o.steps) {
    return;
  }
  const auto third = static_cast<std::ptrdiff_t>(losses.size() / 3);
  const std::vector<double> before(losses.end() - 2 * third, losses.end() - third);
  const std::vector<double> last(losses.end() - third, losses.end());
  const double error = robust_deviation(last) / std::sqrt(static_cast<double>(third));
  const double fall = median_of(before) - median_of(last);
  const std::vector<double> all = history.recent_losses(history.losses.size());
  const double first = median_of({all.begin(), all.begin() + 5});
  if (fall < 2 * error && median_of(last) > o.of_first * first) {
    seen.push_back({"", fall, 2 * error,
                    "the loss stands at " + figure(median_of(last)) +
                        " and has fallen by no more than its noise in the last " +
                        figure(static_cast<double>(2 * third)) + " steps"});
  }
}

}  // namespace

Rule loss_plateau() {
  return make_rule<LossPlateau>(
      {.name = "loss_plateau",
       .about = "the loss no longer falls, and is still high",
       .severity = Severity::info,
       .advice = "try a higher learning rate or a schedule; look at the flow of the gradient"},
      check);
}

}  // namespace gradwise
