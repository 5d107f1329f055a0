#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerOvertraining {
  std::int64_t patience_train = 5;
  std::int64_t patience_validation = 10;
  double delta = 0.1;
};

template <class Fields>
void describe(Fields& fields, SagemakerOvertraining& o) {
  fields.add("patience_train", o.patience_train, "epochs without a better training loss", at_least(1));
  fields.add("patience_validation", o.patience_validation, "validations without a better loss", at_least(1));
  fields.add("delta", o.delta, "change that counts as better", at_least(0));
}

void check(const History& history, const SagemakerOvertraining& o, Sightings& seen) {
  const auto stale = [&o](const std::vector<double>& losses, std::int64_t patience) {
    if (std::ssize(losses) <= patience) {
      return false;
    }
    const double best_before = *std::min_element(losses.begin(), losses.end() - patience);
    return *std::min_element(losses.end() - patience, losses.end()) > best_before - o.delta;
  };
  std::vector<double> train;
  std::vector<double> validation;
  for (const ValidationRecord& record : history.validations) {
    train.push_back(record.train_loss);
    validation.push_back(record.loss);
  }
  if (stale(train, o.patience_train) || stale(validation, o.patience_validation)) {
    seen.push_back({"", validation.back(), o.delta, "the losses no longer improve"});
  }
}

}  // namespace

Rule sagemaker_overtraining() {
  return make_rule<SagemakerOvertraining>(
      {
          .name = "sagemaker_overtraining",
          .about = "no improvement for many epochs",
          .set = RuleSet::sagemaker,
          .advice = "stop the training",
          .source = "SageMaker Debugger, Overtraining",
      },
      check);
}

}  // namespace gradwise
