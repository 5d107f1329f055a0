#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerLossNotDecreasing {
  std::int64_t num_steps = 10;
  double diff_percent = 0.1;
};

template <class Fields>
void describe(Fields& fields, SagemakerLossNotDecreasing& o) {
  fields.add("num_steps", o.num_steps, "steps between two looks", at_least(1));
  fields.add("diff_percent", o.diff_percent, "percent by which the loss has to have fallen", at_least(0));
}

void check(const History& history, const SagemakerLossNotDecreasing& o, Sightings& seen) {
  const std::vector<double>& losses = history.losses;
  const auto count = static_cast<std::size_t>(o.num_steps);
  if (losses.size() <= count || losses.size() % count != 0) {
    return;
  }
  const double before = losses[losses.size() - 1 - count];
  const double fall = 100 * (before - losses.back()) / std::abs(before);
  if (fall < o.diff_percent) {
    seen.push_back(
        {"", fall, o.diff_percent,
         "the loss has changed by " + figure(-fall) + " % in " + figure(static_cast<double>(o.num_steps)) + " steps"});
  }
}

}  // namespace

Rule sagemaker_loss_not_decreasing() {
  return make_rule<SagemakerLossNotDecreasing>(
      {
          .name = "sagemaker_loss_not_decreasing",
          .about = "the loss did not fall since the last look",
          .set = RuleSet::sagemaker,
          .advice = "change the learning rate",
          .source = "SageMaker Debugger, LossNotDecreasing",
      },
      check);
}

}  // namespace gradwise
