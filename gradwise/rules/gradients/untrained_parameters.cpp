#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct UntrainedParameters {
  double share = 0;
};

template <class Fields>
void describe(Fields& fields, UntrainedParameters& o) {
  fields.add("share", o.share, "share of the weights' elements that may be untrained without a word", from_below(0, 1));
}

void check(const History& history, const UntrainedParameters& o, Sightings& seen) {
  double all = 0;
  double untrained = 0;
  std::string first;
  for (const ParameterFacts& facts : history.facts.parameters) {
    if (is_weight(facts)) {
      all += facts.elements();
      untrained += facts.trainable ? 0 : facts.elements();
      first = first.empty() && !facts.trainable ? facts.name : first;
    }
  }
  if (history.empty() || !(untrained > o.share * all) || untrained == all) {
    return;
  }
  const double share = untrained / all;
  seen.push_back({first, share, o.share,
                  figure(100 * share) + " % of the weights ask for no gradient, " + first + " first of them"});
}

}  // namespace

Rule untrained_parameters() {
  return make_rule<UntrainedParameters>({.name = "untrained_parameters",
                                         .about = "some weights ask for no gradient",
                                         .severity = Severity::info,
                                         .advice = "set requires_grad on them, unless they are frozen on purpose"},
                                        check);
}

}  // namespace gradwise
