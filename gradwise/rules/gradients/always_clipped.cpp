#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct AlwaysClipped {
  double share = 0.95;
  double left = 0.1;
  std::int64_t steps = 100;
};

template <class Fields>
void describe(Fields& fields, AlwaysClipped& o) {
  fields.add("share", o.share, "share of the steps that are clipped", between(0, 1));
  fields.add("left", o.left, "median share of the norm that clipping leaves", between(0, 1));
  fields.add("steps", o.steps, "newest steps that count", at_least(1));
}

void check(const History& history, const AlwaysClipped& o, Sightings& seen) {
  double clipped = 0;
  std::vector<double> left;
  for (auto record = history.steps().rbegin(); record != history.steps().rend(); ++record) {
    const StepInfo& info = record->info;
    if (left.size() == static_cast<std::size_t>(o.steps)) {
      break;
    }
    if (!info.skipped && info.grad_norm > 0 && info.grad_norm_clipped >= 0) {
      clipped += info.clipped ? 1 : 0;
      left.push_back(info.grad_norm_clipped / info.grad_norm);
    }
  }
  const auto steps = static_cast<double>(o.steps);
  const double median = median_of(left);
  if (left.size() == static_cast<std::size_t>(o.steps) && clipped >= o.share * steps && median < o.left) {
    seen.push_back({"", median, o.left,
                    figure(clipped) + " of the last " + figure(steps) + " steps were clipped, to " +
                        figure(100 * median) + " % of the gradient's norm"});
  }
}

}  // namespace

Rule always_clipped() {
  return make_rule<AlwaysClipped>({.name = "always_clipped",
                                   .about = "clipping decides the length of nearly every step",
                                   .advice = "raise max_norm to the usual gradient norm, or lower the learning rate"},
                                  check);
}

}  // namespace gradwise
