#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct NonfiniteInput {
  double share = 0;
};

template <class Fields>
void describe(Fields& fields, NonfiniteInput& o) {
  fields.add("share", o.share, "share of the elements above which it speaks", from_below(0, 1));
}

void check(const History& history, const NonfiniteInput& o, Sightings& seen) {
  const auto batches = history.batches(1);
  if (!batches.empty() && batches.back()->input_nonfinite > o.share) {
    const double share = batches.back()->input_nonfinite;
    seen.push_back({"", share, o.share, figure(100 * share) + " % of the input's elements are inf or NaN"});
  }
}

}  // namespace

Rule nonfinite_input() {
  return make_rule<NonfiniteInput>({.name = "nonfinite_input",
                                    .about = "inf or NaN in the input",
                                    .severity = Severity::error,
                                    .advice = "clean the data: drop or fill the samples that hold inf or NaN"},
                                   check);
}

}  // namespace gradwise
