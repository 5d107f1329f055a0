#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct UnlearnedAtValidation {
  double ratio = 3;
  std::int64_t validations = 2;
};

template <class Fields>
void describe(Fields& fields, UnlearnedAtValidation& o) {
  fields.add("ratio", o.ratio, "how many times the training loss the validation loss has to be", at_least(1));
  fields.add("validations", o.validations, "validations in a row", at_least(1));
}

void check(const History& history, const UnlearnedAtValidation& o, Sightings& seen) {
  const std::vector<ValidationRecord>& all = history.validations;
  if (std::ssize(all) < o.validations || std::ssize(all) > 2 * o.validations) {
    return;  // later on it is overfitting
  }
  double least = all.back().loss / all.back().train_loss;
  for (const ValidationRecord& record : all) {
    least = std::min(least, record.loss / record.train_loss);
  }
  if (least > o.ratio && all.back().train_loss > 0) {
    seen.push_back(
        {"", least, o.ratio, "from the first validation on its loss is " + figure(least) + " times the training loss"});
  }
}

}  // namespace

Rule unlearned_at_validation() {
  return make_rule<UnlearnedAtValidation>(
      {.name = "unlearned_at_validation",
       .about = "validation is far worse than training from the start: the modes may differ",
       .advice = "call eval() for validation and train() for training; see that both data sets are read the same way"},
      check);
}

}  // namespace gradwise
