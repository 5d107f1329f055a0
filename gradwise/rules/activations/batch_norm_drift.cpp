#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct BatchNormDrift {
  double variance_ratio = 10;
  double mean_gap = 3;
  std::int64_t readings = 3;
  std::int64_t after = 200;
};

template <class Fields>
void describe(Fields& fields, BatchNormDrift& o) {
  fields.add("variance_ratio", o.variance_ratio, "running over batch variance, or its inverse, that is too far off",
             at_least(1));
  fields.add("mean_gap", o.mean_gap, "batch deviations between running and batch mean that are too many", positive());
  fields.add("readings", o.readings, "readings in a row that have to show it", at_least(1));
  fields.add("after", o.after, "steps that the running statistics may take to settle", at_least(0));
}

// How many times over its bound the worse of a norm's two figures is; 0 where neither is measured.
double times_off(const BatchNormReading& norm, const BatchNormDrift& o) {
  double off = norm.mean_gap >= 0 ? norm.mean_gap / o.mean_gap : 0;
  if (norm.variance_ratio > 0) {
    off = std::max(off, std::max(norm.variance_ratio, 1 / norm.variance_ratio) / o.variance_ratio);
  }
  return norm.training ? off : 0;
}

// One batch of one or two samples tells nothing of the statistics.
bool tells_statistics(const StepReading* reading) { return !reading->batch || reading->batch->samples > 2; }

void check(const History& history, const BatchNormDrift& o, Sightings& seen) {
  const auto readings = history.readings_with_batch_norms(static_cast<std::size_t>(o.readings));
  if (history.step() < o.after || readings.size() < static_cast<std::size_t>(o.readings) ||
      readings.front()->step < o.after || !std::all_of(readings.begin(), readings.end(), tells_statistics)) {
    return;
  }
  const std::vector<BatchNormReading>& newest = readings.back()->batch_norms;
  for (std::size_t i = 0; i < newest.size(); ++i) {
    const bool drifts = std::all_of(readings.begin(), readings.end(), [&](const StepReading* reading) {
      return i < reading->batch_norms.size() && reading->batch_norms[i].layer == newest[i].layer &&
             times_off(reading->batch_norms[i], o) > 1;
    });
    if (drifts) {
      seen.push_back({newest[i].layer, times_off(newest[i], o), 1,
                      "the running statistics of " + newest[i].layer + " are not those of the batches: mean off by " +
                          figure(newest[i].mean_gap) + " deviations, variance " + figure(newest[i].variance_ratio) +
                          " times the batch's"});
    }
  }
}

}  // namespace

Rule batch_norm_drift() {
  return make_rule<BatchNormDrift>(
      {.name = "batch_norm_drift",
       .about = "a batch norm's running statistics, which validation uses, are far from the batches'",
       .advice = "shuffle the data, raise the batch size or batch norm's momentum, or use group or layer norm"},
      check);
}

}  // namespace gradwise
