#include <algorithm>
#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct ConstantOutput {
  std::int64_t batches = 5;
  double deviation = 1e-6;
};

template <class Fields>
void describe(Fields& fields, ConstantOutput& o) {
  fields.add("batches", o.batches, "batches in a row", at_least(2));
  fields.add("deviation", o.deviation, "deviation over magnitude below which outputs are the same", positive());
}

void check(const History& history, const ConstantOutput& o, Sightings& seen) {
  const auto batches = history.batches(static_cast<std::size_t>(o.batches));
  double widest = 0;
  for (const BatchReading* batch : batches) {
    const double size = std::max({std::abs(batch->output_max), std::abs(batch->output_min), 1e-12});
    widest = std::max(widest, batch->output_deviation / size);
  }
  if (std::ssize(batches) == o.batches && widest < o.deviation) {
    seen.push_back({"", widest, o.deviation, "the model answers the same number to everything"});
  }
}

}  // namespace

Rule constant_output() {
  return make_rule<ConstantOutput>({.name = "constant_output",
                                    .about = "the model's outputs are all the same",
                                    .severity = Severity::error,
                                    .advice = "look at dead units and at the initial weights"},
                                   check);
}

}  // namespace gradwise
