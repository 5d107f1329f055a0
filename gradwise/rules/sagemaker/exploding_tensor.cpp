#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerExplodingTensor {
  double share = 0;
};

template <class Fields>
void describe(Fields& fields, SagemakerExplodingTensor& o) {
  fields.add("share", o.share, "share of non-finite elements above which it speaks", from_below(0, 1));
}

void check(const History& history, const SagemakerExplodingTensor& o, Sightings& seen) {
  if (history.empty() || !history.now().reading) {
    return;
  }
  const StepReading& now = *history.now().reading;
  for (std::size_t i = 0; i < now.parameters.size(); ++i) {
    const auto bad = static_cast<double>(now.parameters[i].grad_nans + now.parameters[i].grad_infs);
    const double share = bad / history.facts.parameters[i].elements();
    if (share > o.share) {
      const std::string& name = history.facts.parameters[i].name;
      seen.push_back({name, share, o.share, "the gradient of " + name + " holds inf or NaN"});
    }
  }
}

}  // namespace

Rule sagemaker_exploding_tensor() {
  return make_rule<SagemakerExplodingTensor>(
      {
          .name = "sagemaker_exploding_tensor",
          .about = "inf or NaN in a gradient",
          .set = RuleSet::sagemaker,
          .advice = "lower the learning rate, clip gradients",
          .source = "SageMaker Debugger, ExplodingTensor",
      },
      check);
}

}  // namespace gradwise
