#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct LossOscillation {
  std::int64_t window = 60;
  double alternating = 0.9;
  double amplitude = 0.3;
};

template <class Fields>
void describe(Fields& fields, LossOscillation& o) {
  fields.add("window", o.window, "newest steps that count", at_least(20));
  fields.add("alternating", o.alternating, "share of the steps in which the loss turns", between(0, 1));
  fields.add("amplitude", o.amplitude, "median of its jumps, as a share of its own median", positive());
}

void check(const History& history, const LossOscillation& o, Sightings& seen) {
  const std::vector<double> losses = history.recent_losses(static_cast<std::size_t>(o.window));
  if (std::ssize(losses) < o.window) {
    return;
  }
  std::vector<double> jumps;
  double turns = 0;
  for (std::size_t i = 1; i < losses.size(); ++i) {
    turns += i > 1 && (losses[i] - losses[i - 1]) * (losses[i - 1] - losses[i - 2]) < 0 ? 1 : 0;
    jumps.push_back(std::abs(losses[i] - losses[i - 1]));
  }
  const double turning = turns / static_cast<double>(jumps.size() - 1);
  const double size = median_of(jumps) / std::abs(median_of(losses));
  const bool falls = slope_of(losses) * static_cast<double>(losses.size()) < -o.amplitude * std::abs(median_of(losses));
  if (turning > o.alternating && size > o.amplitude && !falls) {
    seen.push_back({"", turning, o.alternating,
                    "the loss swings: it turned in " + figure(100 * turning) + " % of the last steps, by " +
                        figure(100 * size) + " % of its size"});
  }
}

}  // namespace

Rule loss_oscillation() {
  return make_rule<LossOscillation>(
      {.name = "loss_oscillation",
       .about = "the loss swings from step to step (noise alone turns it in two steps of three)",
       .advice = "divide the learning rate or the momentum"},
      check);
}

}  // namespace gradwise
