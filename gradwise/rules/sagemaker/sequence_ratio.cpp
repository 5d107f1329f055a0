#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerSequenceRatio {
  double threshold_fraction = 0.5;
};

template <class Fields>
void describe(Fields& fields, SagemakerSequenceRatio& o) {
  fields.add("threshold_fraction", o.threshold_fraction, "share of the tokens that are padding", between(0, 1));
}

void check(const History& history, const SagemakerSequenceRatio& o, Sightings& seen) {
  const auto batches = history.batches(1);
  if (!batches.empty() && batches.back()->padding > o.threshold_fraction) {
    seen.push_back({"", batches.back()->padding, o.threshold_fraction,
                    figure(100 * batches.back()->padding) + " % of the tokens are padding"});
  }
}

}  // namespace

Rule sagemaker_sequence_ratio() {
  return make_rule<SagemakerSequenceRatio>(
      {
          .name = "sagemaker_sequence_ratio",
          .about = "mostly padding",
          .set = RuleSet::sagemaker,
          .advice = "put sequences of like length together",
          .source = "SageMaker Debugger, NLPSequenceRatio",
      },
      check);
}

}  // namespace gradwise
