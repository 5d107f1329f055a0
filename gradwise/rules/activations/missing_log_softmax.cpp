#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct MissingLogSoftmax {
  std::int64_t readings = 2;
};

template <class Fields>
void describe(Fields& fields, MissingLogSoftmax& o) {
  fields.add("readings", o.readings, "readings of the graph in a row that have to show it", at_least(1));
}

// log_softmax, log of a softmax, logsumexp and log_sigmoid all make log-probabilities.
bool nll_of_scores(const StepReading* reading) {
  const std::vector<std::string>& path = reading->loss_path;
  return path.back() == "nll" &&
         std::none_of(path.begin(), path.end(), [](const std::string& op) { return op.starts_with("log"); });
}

void check(const History& history, const MissingLogSoftmax& o, Sightings& seen) {
  const auto readings = history.readings_with_loss_path(static_cast<std::size_t>(o.readings));
  if (readings.size() == static_cast<std::size_t>(o.readings) &&
      std::all_of(readings.begin(), readings.end(), nll_of_scores)) {
    seen.push_back(
        {"", kNotMeasured, kNotMeasured,
         "nll takes log-probabilities, and nothing on the way to it makes any from the last layer's scores"});
  }
}

}  // namespace

Rule missing_log_softmax() {
  return make_rule<MissingLogSoftmax>({.name = "missing_log_softmax",
                                       .about = "nll of something that is no log-probability",
                                       .severity = Severity::error,
                                       .advice = "put log_softmax before nll, or use cross entropy, which holds both"},
                                      check);
}

}  // namespace gradwise
