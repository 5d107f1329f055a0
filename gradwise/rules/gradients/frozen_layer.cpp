#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct FrozenLayer {
  std::int64_t readings = 10;
  std::int64_t update_readings = 30;
};

template <class Fields>
void describe(Fields& fields, FrozenLayer& o) {
  fields.add("readings", o.readings, "readings in a row with a gradient of exactly 0", at_least(1));
  fields.add("update_readings", o.update_readings, "readings in a row with an update of exactly 0", at_least(1));
}

bool zero_throughout(const std::vector<double>& figures) {
  return std::all_of(figures.begin(), figures.end(), [](double value) { return value == 0; });
}

// Where nothing moves at all the training is over, or its learning rate is; that is no layer's fault.
bool another_moves(const std::vector<const StepReading*>& readings, double ParameterReading::* figure_of) {
  return std::all_of(readings.begin(), readings.end(), [figure_of](const StepReading* reading) {
    return std::any_of(reading->parameters.begin(), reading->parameters.end(),
                       [figure_of](const ParameterReading& p) { return p.*figure_of > 0; });
  });
}

// Figures of weights may be those of an earlier step, which must not be a skipped one.
bool updates_count(const History& history, std::size_t steps) {
  const auto last = static_cast<std::ptrdiff_t>(std::min(2 * steps, history.steps().size()));
  return std::all_of(history.steps().end() - last, history.steps().end(),
                     [](const StepRecord& record) { return !record.info.skipped && record.info.lr > 0; });
}

void check(const History& history, const FrozenLayer& o, Sightings& seen) {
  const auto gradients = history.readings_of_updates(static_cast<std::size_t>(o.readings));
  const auto updates = history.readings_of_updates(static_cast<std::size_t>(o.update_readings));
  const bool by_gradient = gradients.size() == static_cast<std::size_t>(o.readings) &&
                           another_moves(gradients, &ParameterReading::grad_norm);
  const bool by_update = updates.size() == static_cast<std::size_t>(o.update_readings) &&
                         another_moves(updates, &ParameterReading::update_norm) &&
                         updates_count(history, updates.size());
  for (const std::size_t i : weights_by_depth(history.facts)) {
    const std::string& name = history.facts.parameters[i].name;
    if (by_gradient && zero_throughout(figures_of(gradients, i, &ParameterReading::grad_norm))) {
      seen.push_back({name, 0, kNotMeasured,
                      "the gradient of " + name + " was exactly 0 in the last " +
                          figure(static_cast<double>(o.readings)) + " readings"});
    } else if (by_update && zero_throughout(figures_of(updates, i, &ParameterReading::update_norm))) {
      seen.push_back({name, 0, kNotMeasured,
                      "the optimizer left " + name + " as it is in the last " +
                          figure(static_cast<double>(o.update_readings)) + " readings"});
    }
  }
}

}  // namespace

Rule frozen_layer() {
  return make_rule<FrozenLayer>({.name = "frozen_layer",
                                 .about = "a trainable weight whose gradient or update is exactly 0 while others move",
                                 .advice = "where its gradient is 0, look for dead units between it and the loss, "
                                           "and see that its output takes part in the loss; else give it to the "
                                           "optimizer"},
                                check);
}

}  // namespace gradwise
