#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct WeightJump {
  double factor = 2.5;
  std::int64_t steps = 20;
  double fall = 0.5;
};

template <class Fields>
void describe(Fields& fields, WeightJump& o) {
  fields.add("factor", o.factor, "how many times its norm the median weight may become", at_least(1));
  fields.add("steps", o.steps, "within so many steps", at_least(1));
  fields.add("fall", o.fall, "a loss that fell by this share since the first step excuses it", from_below(0, 1));
}

// Norm over the elements' root: what weights of the usual variance, at most 2 / inputs, have at least half of.
double usual_least(const ParameterFacts& facts) { return 0.5 * std::sqrt(static_cast<double>(facts.shape[0])); }

void check(const History& history, const WeightJump& o, Sightings& seen) {
  const auto readings = history.readings_of_updates(static_cast<std::size_t>(o.steps));
  const std::vector<std::size_t> weights = layer_weights(history);
  const auto first = std::find_if(history.losses.begin(), history.losses.end(), [](double x) { return x == x; });
  if (readings.size() < 3 || weights.empty() ||
      *first - median_of(history.recent_losses(5)) > o.fall * std::abs(*first)) {
    return;
  }
  std::vector<double> growths;
  for (const std::size_t i : weights) {
    if (i < readings.front()->parameters.size() && i < readings.back()->parameters.size()) {
      const ParameterReading& then = readings.front()->parameters[i];
      const double before = then.update_ratio > 0 ? then.update_norm / then.update_ratio : then.weight_norm;
      growths.push_back(readings.back()->parameters[i].weight_norm /
                        std::max(before, usual_least(history.facts.parameters[i])));
    }
  }
  const double growth = median_of(growths);
  if (growth > o.factor) {
    const std::string what = std::isfinite(growth) ? "have become " + figure(growth) + " times as large"
                                                   : std::string("have grown beyond all numbers");
    seen.push_back({"", growth, o.factor,
                    "the weights " + what + " in " +
                        figure(static_cast<double>(readings.back()->step - readings.front()->step + 1)) + " steps"});
  }
}

}  // namespace

Rule weight_jump() {
  return make_rule<WeightJump>({.name = "weight_jump",
                                .about = "weights that a few steps throw far from where they began",
                                .severity = Severity::error,
                                .advice = "divide the learning rate by 10; a warm-up helps too"},
                               check);
}

}  // namespace gradwise
