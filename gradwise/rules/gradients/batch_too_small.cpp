#include <utility>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct BatchTooSmall {
  double factor = 20;
  std::int64_t samples = 8;
  std::int64_t values = 5;
};

template <class Fields>
void describe(Fields& fields, BatchTooSmall& o) {
  fields.add("factor", o.factor, "how many times the batch the noise scale has to be", at_least(1));
  // Healthy trainings come to noise scales of thousands (McCandlish et al. 2018): what harms is noise in few samples.
  fields.add("samples", o.samples, "a step of more samples is never called too small", at_least(1));
  fields.add("values", o.values, "noise scales that have to be measured", at_least(1));
}

double usual_batch(const History& history) {
  std::vector<double> samples;
  for (const StepRecord& record : history.steps) {
    samples.push_back(static_cast<double>(record.info.samples > 0 ? record.info.samples : history.facts.batch_size));
  }
  return median_of(std::move(samples));
}

void check(const History& history, const BatchTooSmall& o, Sightings& seen) {
  const double batch = usual_batch(history);
  if (!(batch > 0 && batch <= static_cast<double>(o.samples))) {
    return;
  }
  std::vector<double> scales;
  for (const StepReading* reading : history.readings(History::kKeptSteps)) {
    if (reading->noise_scale >= 0) {
      scales.push_back(reading->noise_scale);
    }
  }
  const double scale = median_of(scales);
  if (scales.size() >= static_cast<std::size_t>(o.values) && scale > o.factor * batch) {
    seen.push_back({"", scale, o.factor * batch,
                    "the gradient of " + figure(batch) + " samples is mostly noise: its noise suggests a batch of " +
                        figure(scale)});
  }
}

}  // namespace

Rule batch_too_small() {
  return make_rule<BatchTooSmall>(
      {.name = "batch_too_small",
       .about = "a few samples a step where the gradient's noise asks for many",
       .advice = "raise the batch size, or accumulate micro-batches",
       .source = "McCandlish et al., An Empirical Model of Large-Batch Training, 2018 (the noise scale)"},
      check);
}

}  // namespace gradwise
