#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct GradientUnderflow {
  double zeros = 0.5;
  double above_smallest = 1e5;
  double dead = 0.3;
  std::int64_t readings = 5;
};

template <class Fields>
void describe(Fields& fields, GradientUnderflow& o) {
  fields.add("zeros", o.zeros, "share of a gradient's elements that are 0", between(0, 1));
  fields.add("above_smallest", o.above_smallest,
             "how many times the smallest number of the precision its largest element has to stay below", at_least(1));
  fields.add("dead", o.dead, "share of dead units that explains the zeros", between(0, 1));
  fields.add("readings", o.readings, "readings whose median counts", at_least(1));
}

double smallest_number(const std::string& precision) {
  return precision == "float16" ? 0x1p-24 : precision == "bfloat16" ? 0x1p-133 : 0;
}

bool has_dead_units(const History& history, const std::string& layer, double share) {
  const auto readings = history.readings_with_activations(1);
  return !readings.empty() && std::any_of(readings[0]->activations.begin(), readings[0]->activations.end(),
                                          [&layer, share](const ActivationReading& activation) {
                                            return activation.layer == layer && activation.dead > share;
                                          });
}

void check(const History& history, const GradientUnderflow& o, Sightings& seen) {
  const double smallest = smallest_number(history.facts.precision);
  const auto readings = history.readings_of_updates(static_cast<std::size_t>(o.readings));
  if (smallest == 0 || readings.size() < static_cast<std::size_t>(o.readings)) {
    return;
  }
  const double scale = history.now().info.loss_scale;
  for (const std::size_t i : layer_weights(history)) {
    const double zeros = median_of(figures_of(readings, i, &ParameterReading::grad_zeros));
    // Inputs of mostly zeros make zeros too; an underflow shows in that the rest is hardly larger than the smallest.
    const double largest = scale * median_of(figures_of(readings, i, &ParameterReading::grad_max));
    const std::string& name = history.facts.parameters[i].name;
    if (zeros > o.zeros && largest < o.above_smallest * smallest && !has_dead_units(history, layer_of(name), o.dead)) {
      seen.push_back({name, zeros, o.zeros,
                      figure(100 * zeros) + " % of the gradient of " + name + " are 0 and its largest element is " +
                          figure(largest / scale) + ", near the smallest of " + history.facts.precision});
    }
  }
}

}  // namespace

Rule gradient_underflow() {
  return make_rule<GradientUnderflow>({.name = "gradient_underflow",
                                       .about = "gradients too small for the precision become 0",
                                       .severity = Severity::error,
                                       .advice = "scale the loss (GradScaler), or train in bfloat16 or float32",
                                       .source = "Micikevicius et al., Mixed Precision Training, 2018"},
                                      check);
}

}  // namespace gradwise
