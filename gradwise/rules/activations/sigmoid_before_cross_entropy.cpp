#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SigmoidBeforeCrossEntropy {
  std::int64_t readings = 2;
};

template <class Fields>
void describe(Fields& fields, SigmoidBeforeCrossEntropy& o) {
  fields.add("readings", o.readings, "readings of the graph in a row that have to show it", at_least(1));
}

// What takes the sigmoid's output as raw scores; "" where nothing does.
std::string taker_of_sigmoid(const StepReading& reading) {
  const std::vector<std::string>& path = reading.loss_path;
  const auto sigmoid = std::find(path.begin(), path.end(), "sigmoid");
  const auto taker = std::find_if(sigmoid, path.end(), [](const std::string& op) {
    return op == "log_softmax" || op == "binary_cross_entropy_with_logits";
  });
  return taker == path.end() ? "" : *taker;
}

void check(const History& history, const SigmoidBeforeCrossEntropy& o, Sightings& seen) {
  const auto readings = history.readings_with_loss_path(static_cast<std::size_t>(o.readings));
  if (readings.size() == static_cast<std::size_t>(o.readings) &&
      std::all_of(readings.begin(), readings.end(), [](const auto* r) { return !taker_of_sigmoid(*r).empty(); })) {
    seen.push_back({"", kNotMeasured, kNotMeasured,
                    "the model's output goes through a sigmoid, and " + taker_of_sigmoid(*readings.back()) +
                        " takes it for raw scores"});
  }
}

}  // namespace

Rule sigmoid_before_cross_entropy() {
  return make_rule<SigmoidBeforeCrossEntropy>({.name = "sigmoid_before_cross_entropy",
                                               .about = "a sigmoid before a loss that takes raw scores",
                                               .severity = Severity::error,
                                               .advice = "take the sigmoid off the model: this loss takes raw scores"},
                                              check);
}

}  // namespace gradwise
