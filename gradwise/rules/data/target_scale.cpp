#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct TargetScale {
  std::int64_t batches = 3;
  double most = 50;
  double least = 0.001;
};

template <class Fields>
void describe(Fields& fields, TargetScale& o) {
  fields.add("batches", o.batches, "batches that are needed", at_least(1));
  fields.add("most", o.most, "largest deviation", positive());
  fields.add("least", o.least, "smallest deviation", positive());
}

void check(const History& history, const TargetScale& o, Sightings& seen) {
  std::vector<double> deviations;
  for (const BatchReading* batch : history.batches(10)) {
    if (batch->target_deviation > 0) {
      deviations.push_back(batch->target_deviation);
    }
  }
  const double usual = median_of(deviations);
  const bool probabilities = history.facts.loss == "binary_cross_entropy";
  if (std::ssize(deviations) >= o.batches && !probabilities && (usual > o.most || usual < o.least)) {
    seen.push_back({"", usual, usual > o.most ? o.most : o.least, "the targets' deviation is " + figure(usual)});
  }
}

}  // namespace

Rule target_scale() {
  return make_rule<TargetScale>(
      {.name = "target_scale",
       .about = "targets far from deviation 1",
       .advice = "standardise the targets, and scale the predictions back (data.standardize_targets)"},
      check);
}

}  // namespace gradwise
