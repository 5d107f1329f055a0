#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct OutlierBatch {
  double ratio = 20;
  std::int64_t batches = 5;
};

template <class Fields>
void describe(Fields& fields, OutlierBatch& o) {
  fields.add("ratio", o.ratio, "how many times the usual deviation that of one batch's inputs has to be", at_least(1));
  fields.add("batches", o.batches, "batches before it that say what is usual", at_least(2));
}

void check(const History& history, const OutlierBatch& o, Sightings& seen) {
  const auto batches = history.batches(static_cast<std::size_t>(4 * o.batches));
  if (std::ssize(batches) <= o.batches) {
    return;
  }
  std::vector<double> deviations;
  for (const BatchReading* batch : batches) {
    deviations.push_back(batch->tokens ? kNotMeasured : batch->input_deviation);
  }
  const double usual = median_of(deviations);
  const double widest = *std::max_element(deviations.begin(), deviations.end());
  if (widest > o.ratio * usual && usual > 0) {
    seen.push_back({"", widest, o.ratio * usual,
                    "the inputs of one batch have a deviation of " + figure(widest) + ", usual is " + figure(usual)});
  }
}

}  // namespace

Rule outlier_batch() {
  return make_rule<OutlierBatch>(
      {.name = "outlier_batch",
       .about = "a batch whose inputs are far larger than those of the others",
       .advice = "look at the samples of this batch; clip the inputs, and the gradients by norm"},
      check);
}

}  // namespace gradwise
