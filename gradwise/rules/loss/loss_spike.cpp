#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct LossSpike {
  std::int64_t window = 50;
  double deviations = 10;
  double ratio = 2;
};

template <class Fields>
void describe(Fields& fields, LossSpike& o) {
  fields.add("window", o.window, "steps before it that say what is usual", at_least(5));
  fields.add("deviations", o.deviations, "robust deviations above the median that are a spike", positive());
  fields.add("ratio", o.ratio, "and how many times the median it has to be", at_least(1));
}

void check(const History& history, const LossSpike& o, Sightings& seen) {
  std::vector<double> before = history.recent_losses(static_cast<std::size_t>(o.window) + 1);
  if (before.size() <= static_cast<std::size_t>(o.window)) {
    return;
  }
  const double now = before.back();
  before.pop_back();
  const double usual = median_of(before);
  const double bound = std::max(usual + o.deviations * robust_deviation(before), o.ratio * usual);
  if (now > bound) {
    seen.push_back({"", now, bound, "the loss jumped to " + figure(now) + ", its median of late is " + figure(usual)});
  }
}

}  // namespace

Rule loss_spike() {
  return make_rule<LossSpike>({.name = "loss_spike",
                               .about = "one loss far above the last ones (median and MAD)",
                               .advice = "clip gradients by norm; look at the batch of this step"},
                              check);
}

}  // namespace gradwise
