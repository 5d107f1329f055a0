#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct BatchNormOfFew {
  std::int64_t samples = 2;
  std::int64_t samples_of_images = 1;
  std::int64_t batches = 3;
};

template <class Fields>
void describe(Fields& fields, BatchNormOfFew& o) {
  fields.add("samples", o.samples, "samples of a batch that are too few to normalise by", at_least(1));
  fields.add("samples_of_images", o.samples_of_images, "and in convolutional models, whose samples have many positions",
             at_least(1));
  fields.add("batches", o.batches, "batches in a row: the last of an epoch may be small", at_least(1));
}

bool is_convolutional(const RunFacts& facts) {
  return std::any_of(facts.parameters.begin(), facts.parameters.end(),
                     [](const ParameterFacts& parameter) { return parameter.shape.size() > 2; });
}

void check(const History& history, const BatchNormOfFew& o, Sightings& seen) {
  const auto readings = history.readings_with_batch_norms(1);
  const auto batches = history.batches(static_cast<std::size_t>(o.batches));
  if (readings.empty() || batches.size() < static_cast<std::size_t>(o.batches)) {
    return;
  }
  const std::int64_t few = is_convolutional(history.facts) ? o.samples_of_images : o.samples;
  const bool always_few = std::all_of(batches.begin(), batches.end(), [few](const BatchReading* batch) {
    return batch->samples > 0 && batch->samples <= few;
  });
  const std::vector<BatchNormReading>& norms = readings[0]->batch_norms;
  const auto norm = std::find_if(norms.begin(), norms.end(), [](const BatchNormReading& n) { return n.training; });
  if (always_few && norm != norms.end()) {
    const auto samples = static_cast<double>(batches.back()->samples);
    seen.push_back({norm->layer, samples, static_cast<double>(few),
                    "the batch norm " + norm->layer + " takes its statistics from " + figure(samples) +
                        (samples > 1 ? " samples" : " sample")});
  }
}

}  // namespace

Rule batch_norm_of_few() {
  return make_rule<BatchNormOfFew>(
      {.name = "batch_norm_of_few",
       .about = "batch norm in batches of one or two samples",
       .advice = "raise the batch size (accumulation does not help here), or use group or layer norm"},
      check);
}

}  // namespace gradwise
