#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct NeverClipped {
  double share = 0.05;
  std::int64_t steps = 300;
};

template <class Fields>
void describe(Fields& fields, NeverClipped& o) {
  fields.add("share", o.share, "share of the clipping bound that no gradient reaches", between(0, 1));
  fields.add("steps", o.steps, "steps that have to be seen", at_least(1));
}

void check(const History& history, const NeverClipped& o, Sightings& seen) {
  const double bound = history.facts.clip_max_norm;
  if (!std::isfinite(bound)) {
    return;
  }
  double largest = 0;
  std::int64_t measured = 0;
  for (const StepRecord& record : history.steps()) {
    if (!record.info.skipped && record.info.grad_norm >= 0) {
      largest = std::max(largest, record.info.grad_norm);
      ++measured;
    }
  }
  if (measured >= o.steps && largest < o.share * bound) {
    seen.push_back({"", largest, o.share * bound,
                    "the largest gradient norm of the last " + figure(static_cast<double>(measured)) + " steps is " +
                        figure(largest) + ", far below the bound of " + figure(bound)});
  }
}

}  // namespace

Rule never_clipped() {
  return make_rule<NeverClipped>({.name = "never_clipped",
                                  .about = "the bound of clipping is far above every gradient",
                                  .severity = Severity::info,
                                  .advice = "lower max_norm to a few times the usual gradient norm, or leave it out"},
                                 check);
}

}  // namespace gradwise
