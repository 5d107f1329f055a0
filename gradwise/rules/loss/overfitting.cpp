#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct Overfitting {
  std::int64_t validations = 3;
  double rise = 0.1;
};

template <class Fields>
void describe(Fields& fields, Overfitting& o) {
  fields.add("validations", o.validations, "newest validations that are all worse than the best", at_least(2));
  fields.add("rise", o.rise, "how much worse the last is, as a share of the best", positive());
}

void check(const History& history, const Overfitting& o, Sightings& seen) {
  const std::vector<ValidationRecord>& all = history.validations;
  if (std::ssize(all) <= o.validations) {
    return;
  }
  const auto best =
      std::min_element(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.loss < b.loss; });
  const bool passed = all.end() - best > o.validations;
  const double rise = all.back().loss / best->loss - 1;
  if (passed && rise > o.rise && all.back().train_loss < best->train_loss) {
    seen.push_back({"", rise, o.rise,
                    "the validation loss has risen by " + figure(100 * rise) + " % since step " +
                        figure(static_cast<double>(best->step)) + ", while the training loss falls"});
  }
}

}  // namespace

Rule overfitting() {
  return make_rule<Overfitting>({.name = "overfitting",
                                 .about = "the validation loss rises while the training loss falls",
                                 .advice = "stop earlier, add weight decay, dropout or augmentation, or use more data"},
                                check);
}

}  // namespace gradwise
