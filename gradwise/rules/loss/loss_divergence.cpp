#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct LossDivergence {
  std::int64_t window = 20;
  double ratio = 2;
  double of_first = 1.1;
};

template <class Fields>
void describe(Fields& fields, LossDivergence& o) {
  fields.add("window", o.window, "steps whose median is compared", at_least(5));
  fields.add("ratio", o.ratio, "how many times the best median the loss has to be", at_least(1));
  fields.add("of_first", o.of_first, "and how many times the first", at_least(0));
}

// The least median of any window before the newest one, in strides of half a window.
double best_median(const std::vector<double>& losses, std::size_t window) {
  double best = median_of({losses.begin(), losses.begin() + static_cast<std::ptrdiff_t>(window)});
  for (std::size_t begin = 0; begin + 2 * window <= losses.size(); begin += window / 2) {
    const auto from = losses.begin() + static_cast<std::ptrdiff_t>(begin);
    best = std::min(best, median_of({from, from + static_cast<std::ptrdiff_t>(window)}));
  }
  return best;
}

void check(const History& history, const LossDivergence& o, Sightings& seen) {
  const auto window = static_cast<std::size_t>(o.window);
  const double now = median_of(history.recent_losses(window));
  const double first = median_of(history.first_losses(window / 4 + 1));
  if (!(now > o.of_first * first && now > 0)) {
    return;
  }
  const std::vector<double> losses = history.recent_losses(history.losses.size());
  if (losses.size() < 2 * window) {
    return;
  }
  const double best = best_median(losses, window);
  if (now > o.ratio * best) {
    seen.push_back({"", now, o.ratio * best,
                    "the loss has grown: its median of late is " + figure(now) + ", it began at " + figure(first) +
                        " and was " + figure(best) + " at best"});
  }
}

}  // namespace

Rule loss_divergence() {
  return make_rule<LossDivergence>({.name = "loss_divergence",
                                    .about = "the loss has grown well above where it began",
                                    .severity = Severity::error,
                                    .advice = "divide the learning rate by 10, clip gradients by norm, or warm up"},
                                   check);
}

}  // namespace gradwise
