#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct OneSampleBatches {
  std::int64_t batches = 5;
  std::int64_t samples = 1;
};

template <class Fields>
void describe(Fields& fields, OneSampleBatches& o) {
  fields.add("batches", o.batches, "batches in a row", at_least(1));
  fields.add("samples", o.samples, "samples in a batch that are too few", at_least(1));
}

void check(const History& history, const OneSampleBatches& o, Sightings& seen) {
  const auto batches = history.batches(static_cast<std::size_t>(o.batches));
  const bool all =
      std::ssize(batches) == o.batches &&
      std::all_of(batches.begin(), batches.end(), [&o](const BatchReading* b) { return b->samples <= o.samples; });
  if (all && history.facts.batch_size <= o.samples) {
    seen.push_back({"", static_cast<double>(batches.back()->samples), static_cast<double>(o.samples),
                    "every batch is a single sample: its gradient is mostly noise"});
  }
}

}  // namespace

Rule one_sample_batches() {
  return make_rule<OneSampleBatches>({.name = "one_sample_batches",
                                      .about = "batches of one sample",
                                      .advice = "raise the batch size, or accumulate micro-batches"},
                                     check);
}

}  // namespace gradwise
