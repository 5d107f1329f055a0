#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct DoubleSoftmax {
  std::int64_t readings = 2;
  std::int64_t batches = 3;
};

template <class Fields>
void describe(Fields& fields, DoubleSoftmax& o) {
  fields.add("readings", o.readings, "readings of the graph in a row that have to show it", at_least(1));
  fields.add("batches", o.batches, "or batches in a row whose output rows are distributions", at_least(1));
}

bool softmax_twice(const StepReading* reading) {
  const std::vector<std::string>& path = reading->loss_path;
  const auto first = std::find(path.begin(), path.end(), "softmax");
  return std::find(first, path.end(), "log_softmax") != path.end();
}

void check(const History& history, const DoubleSoftmax& o, Sightings& seen) {
  const auto readings = history.readings_with_loss_path(static_cast<std::size_t>(o.readings));
  if (readings.size() == static_cast<std::size_t>(o.readings) &&
      std::all_of(readings.begin(), readings.end(), softmax_twice)) {
    seen.push_back({"", kNotMeasured, kNotMeasured,
                    "the model's output goes through softmax, and the loss applies log_softmax to it again"});
    return;
  }
  const auto batches = history.batches(static_cast<std::size_t>(o.batches));
  if (history.facts.loss == "cross_entropy" && batches.size() == static_cast<std::size_t>(o.batches) &&
      std::all_of(batches.begin(), batches.end(), [](const BatchReading* b) { return b->output_rows_sum_to_one; })) {
    seen.push_back({"", kNotMeasured, kNotMeasured,
                    "every row of the model's output is a distribution already, and cross entropy takes raw scores"});
  }
}

}  // namespace

Rule double_softmax() {
  return make_rule<DoubleSoftmax>({.name = "double_softmax",
                                   .about = "softmax before a loss that applies it itself",
                                   .severity = Severity::error,
                                   .advice = "take the softmax off the model: cross entropy takes raw scores"},
                                  check);
}

}  // namespace gradwise
