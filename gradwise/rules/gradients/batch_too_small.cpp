#include <algorithm>
#include <vector>

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

double batch_of(const StepRecord& record, const History& history) {
  return static_cast<double>(record.info.samples > 0 ? record.info.samples : history.facts.batch_size);
}

void check(const History& history, const BatchTooSmall& o, Sightings& seen) {
  const auto is_small = [&](const StepRecord& record) {
    return batch_of(record, history) <= static_cast<double>(o.samples);
  };
  if (std::none_of(history.steps().begin(), history.steps().end(), is_small)) {
    return;  // the usual: no reading has to be looked at
  }
  std::vector<double> scales;
  std::vector<double> samples;
  for (const StepRecord& record : history.steps()) {
    if (record.reading && record.reading->noise_scale >= 0) {
      scales.push_back(record.reading->noise_scale);
      samples.push_back(batch_of(record, history));
    }
  }
  if (scales.size() < static_cast<std::size_t>(o.values)) {
    return;
  }
  const double scale = median_of(scales);
  const double batch = median_of(samples);
  if (batch > 0 && batch <= static_cast<double>(o.samples) && scale > o.factor * batch) {
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
