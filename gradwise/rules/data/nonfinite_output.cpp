#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct NonfiniteOutput {
  double share = 0;
};

template <class Fields>
void describe(Fields& fields, NonfiniteOutput& o) {
  fields.add("share", o.share, "share of the outputs above which it speaks", from_below(0, 1));
}

void check(const History& history, const NonfiniteOutput& o, Sightings& seen) {
  const auto readings = history.readings_with_batch(1);
  const double share = readings.empty() ? kNotMeasured : readings[0]->batch->output_nonfinite;
  if (share > o.share && !spoilt_before(history, readings[0]->step)) {
    seen.push_back({"", share, o.share, figure(100 * share) + " % of the model's outputs are inf or NaN"});
  }
}

}  // namespace

Rule nonfinite_output() {
  return make_rule<NonfiniteOutput>({.name = "nonfinite_output",
                                     .about = "inf or NaN in the model's output",
                                     .severity = Severity::error,
                                     .advice = "run find_nonfinite on the batch: it names the operator"},
                                    check);
}

}  // namespace gradwise
