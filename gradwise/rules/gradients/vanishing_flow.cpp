#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct VanishingFlow {
  double ratio = 1e-4;
  double update_ratio = 1e-2;
  std::int64_t readings = 10;
  std::int64_t after = 20;
};

template <class Fields>
void describe(Fields& fields, VanishingFlow& o) {
  fields.add("ratio", o.ratio,
             "the first layer's RMS gradient over the last layer's, below which the flow has vanished", positive());
  fields.add("update_ratio", o.update_ratio,
             "and the first layer's update ratio over the last layer's: Adam makes up for small gradients", positive());
  fields.add("readings", o.readings, "readings whose median counts", at_least(2));
  fields.add("after", o.after, "steps that a training may take to open the flow", at_least(1));
}

double rms_gradient(const History& history, const std::vector<const StepReading*>& readings, std::size_t weight) {
  return median_of(figures_of(readings, weight, &ParameterReading::grad_norm)) /
         std::sqrt(history.facts.parameters[weight].elements());
}

// Behind an output layer that begins at zero the flow is small at first and opens by itself.
bool flow_opens(const History& history, const std::vector<const StepReading*>& readings, std::size_t first,
                std::size_t last) {
  const auto half = static_cast<std::ptrdiff_t>(readings.size() / 2);
  const std::vector<const StepReading*> older(readings.begin(), readings.begin() + half);
  const std::vector<const StepReading*> newer(readings.begin() + half, readings.end());
  return rms_gradient(history, newer, first) / rms_gradient(history, newer, last) >
         1.3 * rms_gradient(history, older, first) / rms_gradient(history, older, last);
}

// The layer before the widest gap, looking from the output.
std::size_t where_flow_falls(const History& history, const std::vector<const StepReading*>& readings,
                             const std::vector<std::size_t>& weights) {
  std::size_t at = weights.front();
  double widest = 0;
  for (std::size_t i = weights.size() - 1; i > 0; --i) {
    const double gap = rms_gradient(history, readings, weights[i]) / rms_gradient(history, readings, weights[i - 1]);
    if (gap > widest) {
      widest = gap;
      at = weights[i - 1];
    }
  }
  return at;
}

void check(const History& history, const VanishingFlow& o, Sightings& seen) {
  const auto readings = history.readings_of_updates(static_cast<std::size_t>(o.readings));
  const std::vector<std::size_t> weights = layer_weights(history);
  if (history.step() < o.after || readings.size() < static_cast<std::size_t>(o.readings) || weights.size() < 2) {
    return;
  }
  const std::size_t first = weights.front();
  const std::size_t last = weights.back();
  const double ratio = rms_gradient(history, readings, first) / rms_gradient(history, readings, last);
  const auto update = [&readings](std::size_t weight) {
    return median_of(figures_of(readings, weight, &ParameterReading::update_ratio));
  };
  const bool moves = update(first) >= o.update_ratio * update(last);
  if (ratio > 0 && ratio < o.ratio && !moves && !flow_opens(history, readings, first, last)) {
    const std::string& name = history.facts.parameters[where_flow_falls(history, readings, weights)].name;
    seen.push_back({name, ratio, o.ratio,
                    "the gradient vanishes on its way down: the first layer's is " + figure(ratio) +
                        " of the last layer's, and it falls most at " + name});
  }
}

}  // namespace

Rule vanishing_flow() {
  return make_rule<VanishingFlow>(
      {.name = "vanishing_flow",
       .about = "the first layers get a vanishing part of the last layer's gradient",
       .severity = Severity::error,
       .advice = "use ReLU-like activations, residual connections or normalisation; fewer layers"},
      check);
}

}  // namespace gradwise
