#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct InitialLossOff {
  double ratio = 3;
};

template <class Fields>
void describe(Fields& fields, InitialLossOff& o) {
  fields.add("ratio", o.ratio, "how many times ln(classes) the first losses have to be", at_least(1));
}

void check(const History& history, const InitialLossOff& o, Sightings& seen) {
  if (history.facts.loss != "cross_entropy" || history.facts.classes < 2 || history.losses.size() < 3) {
    return;
  }
  const double first = mean_of({history.losses.begin(), history.losses.begin() + 3});
  const double chance = std::log(static_cast<double>(history.facts.classes));
  if (first > o.ratio * chance) {
    seen.push_back({"", first, o.ratio * chance,
                    "the first losses are " + figure(first) + ", a model that knows nothing has " + figure(chance)});
  }
}

}  // namespace

Rule initial_loss_off() {
  return make_rule<InitialLossOff>(
      {.name = "initial_loss_off",
       .about = "the first loss is far above that of guessing",
       .advice = "begin with smaller weights in the last layer; look at the scale of the inputs"},
      check);
}

}  // namespace gradwise
