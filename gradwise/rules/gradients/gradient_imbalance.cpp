#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct GradientImbalance {
  double factor = 1000;
  std::int64_t readings = 20;
};

template <class Fields>
void describe(Fields& fields, GradientImbalance& o) {
  fields.add("factor", o.factor, "how many times faster or slower than the median layer is too much", at_least(1));
  fields.add("readings", o.readings, "readings whose median counts", at_least(2));
}

// A layer's relative speed: what its updates, or where these are not measured its gradients, are to its weights. One
// that stands still is a frozen layer, and no matter of balance.
double speed_of(const std::vector<const StepReading*>& readings, std::size_t weight, bool by_updates) {
  if (by_updates) {
    const double speed = median_of(figures_of(readings, weight, &ParameterReading::update_ratio));
    return speed > 0 ? speed : kNotMeasured;
  }
  const double gradient = median_of(figures_of(readings, weight, &ParameterReading::grad_norm));
  const double size = median_of(figures_of(readings, weight, &ParameterReading::weight_norm));
  return gradient > 0 && size > 0 ? gradient / size : kNotMeasured;
}

void check(const History& history, const GradientImbalance& o, Sightings& seen) {
  const auto readings = history.readings_of_updates(static_cast<std::size_t>(o.readings));
  const std::vector<std::size_t> weights = layer_weights(history);
  if (readings.size() < static_cast<std::size_t>(o.readings) || weights.size() < 3) {
    return;
  }
  const auto measured = [&readings](std::size_t weight) {
    return median_of(figures_of(readings, weight, &ParameterReading::update_ratio)) >= 0;
  };
  const bool by_updates = std::any_of(weights.begin(), weights.end(), measured);
  std::vector<double> speeds;
  for (const std::size_t weight : weights) {
    speeds.push_back(speed_of(readings, weight, by_updates));
  }
  const double usual = median_of(speeds);
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double times = std::max(speeds[i] / usual, usual / speeds[i]);
    if (times > o.factor) {
      const std::string& name = history.facts.parameters[weights[i]].name;
      seen.push_back({name, times, o.factor,
                      name + " learns " + figure(times) + " times " + (speeds[i] > usual ? "faster" : "slower") +
                          " than the median layer: " + figure(speeds[i]) + " of its weights a step" +
                          (by_updates ? "" : ", by its gradient")});
    }
  }
}

}  // namespace

Rule gradient_imbalance() {
  return make_rule<GradientImbalance>({.name = "gradient_imbalance",
                                       .about = "a layer that learns a thousand times faster or slower than the others",
                                       .advice = "use a normalising optimizer (AdamW) or learning rates by layer"},
                                      check);
}

}  // namespace gradwise
