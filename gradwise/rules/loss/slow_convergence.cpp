#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SlowConvergence {
  std::int64_t after = 300;
  double fall = 0.05;
};

template <class Fields>
void describe(Fields& fields, SlowConvergence& o) {
  fields.add("after", o.after, "steps before which nothing is said", at_least(50));
  fields.add("fall", o.fall, "share of the first loss that it has to have fallen by", between(0, 1));
}

void check(const History& history, const SlowConvergence& o, Sightings& seen) {
  const double first = median_of(history.first_losses(5));
  const double fall = 1 - median_of(history.recent_losses(20)) / first;
  if (!(fall < o.fall && first > 0)) {
    return;
  }
  const std::vector<double> losses = history.recent_losses(history.losses.size());
  if (std::ssize(losses) >= o.after) {
    seen.push_back({"", fall, o.fall,
                    "the loss has " + std::string(fall < 0 ? "risen" : "fallen") + " by " +
                        figure(100 * std::abs(fall)) + " % in " + figure(static_cast<double>(losses.size())) +
                        " steps"});
  }
}

}  // namespace

Rule slow_convergence() {
  return make_rule<SlowConvergence>({.name = "slow_convergence",
                                     .about = "the loss hardly falls",
                                     .severity = Severity::info,
                                     .advice = "try a higher learning rate; look at the flow of the gradient by depth"},
                                    check);
}

}  // namespace gradwise
