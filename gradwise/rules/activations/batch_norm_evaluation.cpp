#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct BatchNormEvaluation {
  std::int64_t readings = 5;
  double mean_gap = 0.2;
  double variance_ratio = 1.25;
};

template <class Fields>
void describe(Fields& fields, BatchNormEvaluation& o) {
  fields.add("readings", o.readings, "readings in a row in which every batch norm is in evaluation mode", at_least(1));
  fields.add("mean_gap", o.mean_gap, "running statistics that are this near to the batches' do no harm", at_least(0));
  fields.add("variance_ratio", o.variance_ratio, "and whose variance is within this factor", at_least(1));
}

// Who freezes batch norms on purpose freezes their weights, too.
bool is_frozen_norm(const History& history, const BatchNormReading& norm) {
  const std::vector<ParameterFacts>& all = history.facts.parameters;
  return std::any_of(all.begin(), all.end(), [&norm](const ParameterFacts& facts) {
    return !facts.trainable && layer_of(facts.name) == norm.layer;
  });
}

bool fits_the_batches(const BatchNormReading& norm, const BatchNormEvaluation& o) {
  return norm.mean_gap <= o.mean_gap && norm.variance_ratio <= o.variance_ratio &&
         norm.variance_ratio >= 1 / o.variance_ratio;
}

void check(const History& history, const BatchNormEvaluation& o, Sightings& seen) {
  const auto readings = history.readings_with_batch_norms(static_cast<std::size_t>(o.readings));
  if (readings.size() < static_cast<std::size_t>(o.readings)) {
    return;
  }
  // A few of them in evaluation mode are an intention; all of them are a train() that was forgotten.
  for (const StepReading* reading : readings) {
    for (const BatchNormReading& norm : reading->batch_norms) {
      if (norm.training || is_frozen_norm(history, norm)) {
        return;
      }
    }
  }
  const std::vector<BatchNormReading>& newest = readings.back()->batch_norms;
  if (!std::all_of(newest.begin(), newest.end(), [&o](const auto& norm) { return fits_the_batches(norm, o); })) {
    const auto count = static_cast<double>(newest.size());
    seen.push_back({newest.front().layer, count, kNotMeasured,
                    "all batch norms (" + figure(count) + ", from " + newest.front().layer +
                        " on) run in evaluation mode: they normalise by statistics that no batch updates"});
  }
}

}  // namespace

Rule batch_norm_evaluation() {
  return make_rule<BatchNormEvaluation>({.name = "batch_norm_evaluation",
                                         .about = "the model is trained in evaluation mode",
                                         .severity = Severity::error,
                                         .advice = "call train() on the model before training"},
                                        check);
}

}  // namespace gradwise
