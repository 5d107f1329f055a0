#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct NonfiniteLoss {
  std::int64_t steps = 1;
};

template <class Fields>
void describe(Fields& fields, NonfiniteLoss& o) {
  fields.add("steps", o.steps, "newest steps in a row whose loss is not finite", at_least(1));
}

void check(const History& history, const NonfiniteLoss& o, Sightings& seen) {
  if (std::ssize(history.steps()) < o.steps) {
    return;
  }
  for (auto record = history.steps().end() - o.steps; record != history.steps().end(); ++record) {
    if (!has_nonfinite_loss(record->info)) {
      return;
    }
  }
  seen.push_back({"", history.now().info.loss, kNotMeasured, "the loss is " + figure(history.now().info.loss)});
}

}  // namespace

Rule nonfinite_loss() {
  return make_rule<NonfiniteLoss>(
      {.name = "nonfinite_loss",
       .about = "the loss is inf or NaN",
       .severity = Severity::error,
       .advice = "lower the learning rate, clip gradients, or look at the batch with find_nonfinite"},
      check);
}

}  // namespace gradwise
