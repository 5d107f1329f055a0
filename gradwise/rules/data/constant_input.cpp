#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct ConstantInput {
  std::int64_t batches = 3;
};

template <class Fields>
void describe(Fields& fields, ConstantInput& o) {
  fields.add("batches", o.batches, "batches in a row", at_least(1));
}

void check(const History& history, const ConstantInput& o, Sightings& seen) {
  const auto batches = history.batches(static_cast<std::size_t>(o.batches));
  const bool all = std::ssize(batches) == o.batches &&
                   std::all_of(batches.begin(), batches.end(),
                               [](const BatchReading* b) { return !b->tokens && b->input_deviation == 0; });
  if (all) {
    seen.push_back({"", 0, 0, "every element of the input is " + figure(batches.back()->input_mean)});
  }
}

}  // namespace

Rule constant_input() {
  return make_rule<ConstantInput>({.name = "constant_input",
                                   .about = "all elements of the input are the same",
                                   .severity = Severity::error,
                                   .advice = "look at the reading of the data"},
                                  check);
}

}  // namespace gradwise
