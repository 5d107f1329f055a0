#include <algorithm>
#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerSimilarAcrossRuns {
  double tolerance = 1e-3;
  std::int64_t steps = 20;
};

template <class Fields>
void describe(Fields& fields, SagemakerSimilarAcrossRuns& o) {
  fields.add("tolerance", o.tolerance, "largest relative difference that counts as the same", positive());
  fields.add("steps", o.steps, "steps that are compared", at_least(1));
}

void check(const History& history, const SagemakerSimilarAcrossRuns& o, Sightings& seen) {
  const auto count = static_cast<std::size_t>(o.steps);
  if (history.losses.size() < count) {
    return;
  }
  for (const OtherRun& other : history.other_runs) {
    if (other.losses.size() < count) {
      continue;
    }
    double widest = 0;
    for (std::size_t i = 0; i < count; ++i) {
      widest =
          std::max(widest, std::abs(history.losses[i] - other.losses[i]) / std::max(std::abs(other.losses[i]), 1e-12));
    }
    if (widest < o.tolerance) {
      seen.push_back({"", widest, o.tolerance, "the losses are those of the run " + other.name});
    }
  }
}

}  // namespace

Rule sagemaker_similar_across_runs() {
  return make_rule<SagemakerSimilarAcrossRuns>(
      {
          .name = "sagemaker_similar_across_runs",
          .about = "a run that repeats another one",
          .set = RuleSet::sagemaker,
          .advice = "see that the change that was meant took effect",
          .source = "SageMaker Debugger, SimilarAcrossRuns",
      },
      check);
}

}  // namespace gradwise
