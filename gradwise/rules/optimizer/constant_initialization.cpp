#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct ConstantInitialization {
  double variance = 1e-14;
  std::int64_t within = 3;
  std::int64_t readings = 5;
  double zero_share = 0.67;
};

template <class Fields>
void describe(Fields& fields, ConstantInitialization& o) {
  fields.add("variance", o.variance, "variance over squared mean below which a weight is constant", positive());
  fields.add("within", o.within, "first step that has to be read, to know how the weights began", at_least(1));
  fields.add("readings", o.readings, "first readings in which a weight that began at 0 gets no gradient", at_least(1));
  fields.add("zero_share", o.zero_share, "share of the weights that may begin at 0 (LoRA's do, and many last layers)",
             between(0, 1));
}

// Readings are taken after the update, so that a constant has by then the variance of its first update.
bool began_constant(const ParameterReading& seen, double elements, double variance) {
  const double first_update = seen.update_norm > 0 ? seen.update_norm * seen.update_norm / elements : 0;
  return seen.update_ratio < 0.5 &&
         seen.weight_variance <= 1.01 * first_update + variance * seen.weight_mean * seen.weight_mean;
}

bool began_at_zero(const ParameterReading& seen) {
  const bool no_ratio = std::isnan(seen.update_ratio);
  return seen.weight_norm == 0 || (no_ratio && seen.update_norm > 0 && seen.weight_norm <= 1.001 * seen.update_norm);
}

// A weight of one row, or of one input, has no symmetry that would have to be broken.
bool needs_variety(const ParameterFacts& facts) {
  return facts.shape[0] > 1 && facts.elements() > static_cast<double>(facts.shape[0]);
}

// The first readings of this training, oldest first; none where they are not from its beginning.
std::vector<const StepReading*> first_readings(const History& history, const ConstantInitialization& o) {
  std::vector<const StepReading*> found;
  for (const StepRecord& record : history.steps()) {
    if (std::ssize(found) == o.readings) {
      break;
    }
    if (!record.info.skipped && record.reading && !record.reading->parameters.empty()) {
      found.push_back(record.reading.get());
    }
  }
  return found.empty() || found[0]->step > o.within ? std::vector<const StepReading*>{} : found;
}

bool no_gradient_came(const std::vector<const StepReading*>& readings, std::size_t weight) {
  const std::vector<double> norms = figures_of(readings, weight, &ParameterReading::grad_norm);
  return std::all_of(norms.begin(), norms.end(), [](double norm) { return norm == 0; });
}

void check(const History& history, const ConstantInitialization& o, Sightings& seen) {
  const auto readings = first_readings(history, o);
  if (readings.empty()) {
    return;
  }
  std::vector<std::size_t> weights = weights_by_depth(history.facts);
  std::erase_if(weights, [&](std::size_t i) {
    return i >= readings[0]->parameters.size() || !needs_variety(history.facts.parameters[i]);
  });
  const auto zero = [&](std::size_t i) { return began_at_zero(readings[0]->parameters[i]); };
  const auto zeros = static_cast<double>(std::count_if(weights.begin(), weights.end(), zero));
  const bool too_many = weights.size() > 1 && zeros > o.zero_share * static_cast<double>(weights.size());
  for (const std::size_t i : weights) {
    const ParameterFacts& facts = history.facts.parameters[i];
    const ParameterReading& first = readings[0]->parameters[i];
    if (zero(i)) {
      const bool stuck = std::ssize(readings) == o.readings && no_gradient_came(readings, i);
      if (too_many || stuck) {
        seen.push_back({facts.name, 0, 0, facts.name + " began at 0" + (stuck ? " and gets no gradient" : "")});
      }
    } else if (began_constant(first, facts.elements(), o.variance)) {
      seen.push_back({facts.name, first.weight_variance, o.variance,
                      "all elements of " + facts.name + " began as the same number, about " +
                          figure(first.weight_mean) + ": its units can't become different"});
    }
  }
}

}  // namespace

Rule constant_initialization() {
  return make_rule<ConstantInitialization>(
      {.name = "constant_initialization",
       .about = "a weight whose elements all begin as the same number",
       .severity = Severity::error,
       .advice = "initialise weights at random: by He (ReLU) or Xavier (tanh, sigmoid)"},
      check);
}

}  // namespace gradwise
