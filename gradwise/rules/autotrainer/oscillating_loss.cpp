#include <algorithm>
#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct AutotrainerOscillatingLoss {
  double swing = 0.03;
  double share = 0.2;
  std::int64_t epochs = 5;
  double active_below = 0.7;
};

template <class Fields>
void describe(Fields& fields, AutotrainerOscillatingLoss& o) {
  fields.add("swing", o.swing, "accuracy from peak to trough", positive());
  fields.add("share", o.share, "share of the epochs in which it swings", between(0, 1));
  fields.add("epochs", o.epochs, "epochs that are needed", at_least(2));
  fields.add("active_below", o.active_below, "best accuracy up to which it looks", between(0, 1));
}

void check(const History& history, const AutotrainerOscillatingLoss& o, Sightings& seen) {
  std::vector<double> accuracy;
  for (const ValidationRecord& record : history.validations) {
    accuracy.push_back(record.metric("accuracy"));
  }
  if (std::ssize(accuracy) < o.epochs || *std::max_element(accuracy.begin(), accuracy.end()) > o.active_below) {
    return;
  }
  double swings = 0;
  for (std::size_t i = 1; i < accuracy.size(); ++i) {
    swings += std::abs(accuracy[i] - accuracy[i - 1]) >= o.swing ? 1 : 0;
  }
  const double found = swings / static_cast<double>(accuracy.size() - 1);
  if (found >= o.share) {
    seen.push_back({"", found, o.share, "the accuracy swings in " + figure(100 * found) + " % of the epochs"});
  }
}

}  // namespace

Rule autotrainer_oscillating_loss() {
  return make_rule<AutotrainerOscillatingLoss>(
      {
          .name = "autotrainer_oscillating_loss",
          .about = "accuracy that swings from epoch to epoch",
          .set = RuleSet::autotrainer,
          .advice = "lower the learning rate or momentum, raise the batch size",
          .source = "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair System, ICSE 2021, section IV",
      },
      check);
}

}  // namespace gradwise
