#include <algorithm>
#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct AutotrainerSlowConvergence {
  double change = 0.01;
  std::int64_t epochs = 3;
  double active_below = 0.7;
};

template <class Fields>
void describe(Fields& fields, AutotrainerSlowConvergence& o) {
  fields.add("change", o.change, "change of the accuracy in an epoch", positive());
  fields.add("epochs", o.epochs, "epochs that are needed", at_least(2));
  fields.add("active_below", o.active_below, "best accuracy up to which it looks", between(0, 1));
}

void check(const History& history, const AutotrainerSlowConvergence& o, Sightings& seen) {
  std::vector<double> accuracy;
  for (const ValidationRecord& record : history.validations) {
    accuracy.push_back(record.metric("accuracy"));
  }
  if (std::ssize(accuracy) < o.epochs || *std::max_element(accuracy.begin(), accuracy.end()) > o.active_below) {
    return;
  }
  double widest = 0;
  for (auto now = accuracy.end() - o.epochs + 1; now != accuracy.end(); ++now) {
    widest = std::max(widest, std::abs(*now - *(now - 1)));
  }
  if (widest < o.change) {
    seen.push_back({"", widest, o.change, "the accuracy changes by " + figure(widest) + " an epoch"});
  }
}

}  // namespace

Rule autotrainer_slow_convergence() {
  return make_rule<AutotrainerSlowConvergence>(
      {
          .name = "autotrainer_slow_convergence",
          .about = "accuracy that hardly changes",
          .set = RuleSet::autotrainer,
          .advice = "raise the learning rate, change the optimizer",
          .source = "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair System, ICSE 2021, section IV",
      },
      check);
}

}  // namespace gradwise
