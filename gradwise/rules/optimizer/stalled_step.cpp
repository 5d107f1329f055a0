#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct StalledStep {
  double seconds = 1800;
  double times = 5;
};

template <class Fields>
void describe(Fields& fields, StalledStep& o) {
  fields.add("seconds", o.seconds, "seconds that a step may take", positive());
  fields.add("times", o.times, "and how many times the median step, where steps are long", at_least(1));
}

void check(const History& history, const StalledStep& o, Sightings& seen) {
  if (history.empty() || !(history.seconds_since_step > o.seconds)) {
    return;
  }
  std::vector<double> usual;
  for (const StepRecord& record : history.steps()) {
    usual.push_back(record.info.seconds.total);
  }
  const double bound = std::max(o.seconds, o.times * median_of(usual));
  if (history.seconds_since_step > bound) {
    seen.push_back({"", history.seconds_since_step, bound,
                    "the step under way has taken " + figure(history.seconds_since_step) +
                        " seconds, the last ones took " + figure(median_of(usual))});
  }
}

}  // namespace

Rule stalled_step() {
  return make_rule<StalledStep>({.name = "stalled_step",
                                 .about = "a step that takes very long",
                                 .advice = "look at the reading of the data and at the machine",
                                 .source = "SageMaker Debugger, StalledTrainingRule"},
                                check);
}

}  // namespace gradwise
