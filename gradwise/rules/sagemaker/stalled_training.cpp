#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerStalledTraining {
  double threshold = 1800;
};

template <class Fields>
void describe(Fields& fields, SagemakerStalledTraining& o) {
  fields.add("threshold", o.threshold, "seconds", positive());
}

void check(const History& history, const SagemakerStalledTraining& o, Sightings& seen) {
  if (history.seconds_since_step > o.threshold) {
    seen.push_back({"", history.seconds_since_step, o.threshold,
                    "no step has ended for " + figure(history.seconds_since_step) + " s"});
  }
}

}  // namespace

Rule sagemaker_stalled_training() {
  return make_rule<SagemakerStalledTraining>(
      {
          .name = "sagemaker_stalled_training",
          .about = "no step for half an hour",
          .set = RuleSet::sagemaker,
          .advice = "look at the reading of the data and at the machine",
          .source = "SageMaker Debugger, StalledTrainingRule",
      },
      check);
}

}  // namespace gradwise
