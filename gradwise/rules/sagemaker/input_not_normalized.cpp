#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerInputNotNormalized {
  double threshold_mean = 0.2;
  std::int64_t samples = 500;
};

template <class Fields>
void describe(Fields& fields, SagemakerInputNotNormalized& o) {
  fields.add("threshold_mean", o.threshold_mean, "magnitude of the input's mean", positive());
  fields.add("samples", o.samples, "samples that are needed", at_least(1));
}

void check(const History& history, const SagemakerInputNotNormalized& o, Sightings& seen) {
  double sum = 0;
  double samples = 0;
  for (const BatchReading* batch : history.batches(History::kKeptSteps)) {
    if (!batch->tokens && std::isfinite(batch->input_mean)) {
      sum += batch->input_mean * static_cast<double>(batch->samples);
      samples += static_cast<double>(batch->samples);
    }
  }
  if (samples >= static_cast<double>(o.samples) && std::abs(sum / samples) > o.threshold_mean) {
    seen.push_back(
        {"", std::abs(sum / samples), o.threshold_mean, "the mean of the inputs is " + figure(sum / samples)});
  }
}

}  // namespace

Rule sagemaker_input_not_normalized() {
  return make_rule<SagemakerInputNotNormalized>(
      {
          .name = "sagemaker_input_not_normalized",
          .about = "inputs whose mean is not near 0",
          .set = RuleSet::sagemaker,
          .advice = "normalise the inputs",
          .source = "SageMaker Debugger, NotNormalizedData",
      },
      check);
}

}  // namespace gradwise
