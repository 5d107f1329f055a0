#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerOverfit {
  double ratio_threshold = 0.1;
  std::int64_t patience = 1;
};

template <class Fields>
void describe(Fields& fields, SagemakerOverfit& o) {
  fields.add("ratio_threshold", o.ratio_threshold, "(validation loss - training loss) / training loss", positive());
  fields.add("patience", o.patience, "validations in a row", at_least(1));
}

void check(const History& history, const SagemakerOverfit& o, Sightings& seen) {
  const std::vector<ValidationRecord>& all = history.validations;
  if (std::ssize(all) < o.patience) {
    return;
  }
  double least = 1e300;
  for (auto record = all.end() - o.patience; record != all.end(); ++record) {
    least = std::min(least, (record->loss - record->train_loss) / record->train_loss);
  }
  if (least > o.ratio_threshold) {
    seen.push_back(
        {"", least, o.ratio_threshold, "the validation loss is " + figure(100 * least) + " % above the training loss"});
  }
}

}  // namespace

Rule sagemaker_overfit() {
  return make_rule<SagemakerOverfit>(
      {
          .name = "sagemaker_overfit",
          .about = "validation loss above training loss",
          .set = RuleSet::sagemaker,
          .advice = "stop earlier, regularise",
          .source = "SageMaker Debugger, Overfit",
      },
      check);
}

}  // namespace gradwise
