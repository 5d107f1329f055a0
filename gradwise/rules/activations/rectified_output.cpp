#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct RectifiedOutput {
  std::int64_t readings = 2;
  std::int64_t batches = 5;
  double below = -0.2;
};

template <class Fields>
void describe(Fields& fields, RectifiedOutput& o) {
  fields.add("readings", o.readings, "readings of the graph in a row that have to show it", at_least(1));
  fields.add("batches", o.batches, "losses of numbers: batches whose median target counts", at_least(1));
  fields.add("below", o.below, "and how many deviations that mean is from 0: targets that ReLU can't reach",
             anything());
}

bool rectified_scores(const StepReading* reading) {
  const std::vector<std::string>& path = reading->loss_path;
  return path.size() > 1 && path[0] == "relu" &&
         (path[1] == "log_softmax" || path[1] == "binary_cross_entropy_with_logits");
}

bool rectified_numbers(const StepReading* reading) {
  const std::vector<std::string>& path = reading->loss_path;
  return path.size() == 2 && path[0] == "relu" &&
         (path[1] == "mse" || path[1] == "mae" || path[1] == "huber" || path[1] == "smooth_l1");
}

// Targets that are never negative may well be met by a ReLU.
bool negative_targets(const History& history, const RectifiedOutput& o) {
  const auto batches = history.batches(static_cast<std::size_t>(o.batches));
  std::vector<double> places;
  for (const BatchReading* batch : batches) {
    places.push_back(batch->target_mean / std::max(batch->target_deviation, 1e-12));
  }
  return batches.size() == static_cast<std::size_t>(o.batches) && median_of(places) < o.below;
}

// Networks of convolutions alone pool their rectified maps into scores (SqueezeNet), and do well.
bool ends_in_convolution(const RunFacts& facts) {
  const std::vector<std::size_t> weights = weights_by_depth(facts);
  return weights.empty() || facts.parameters[weights.back()].shape.size() > 2;
}

void check(const History& history, const RectifiedOutput& o, Sightings& seen) {
  const auto readings = history.readings_with_loss_path(static_cast<std::size_t>(o.readings));
  if (readings.size() < static_cast<std::size_t>(o.readings) || ends_in_convolution(history.facts)) {
    return;
  }
  const bool scores = std::all_of(readings.begin(), readings.end(), rectified_scores);
  const bool numbers = std::all_of(readings.begin(), readings.end(), rectified_numbers) && negative_targets(history, o);
  if (scores || numbers) {
    const RunFacts& facts = history.facts;
    seen.push_back(
        {layer_of(facts.parameters[weights_by_depth(facts).back()].name), kNotMeasured, kNotMeasured,
         "the model's output goes through a ReLU before " + readings.back()->loss_path[1] + ": it can't be negative"});
  }
}

}  // namespace

Rule rectified_output() {
  return make_rule<RectifiedOutput>({.name = "rectified_output",
                                     .about = "a ReLU between the last layer and the loss",
                                     .severity = Severity::error,
                                     .advice = "take the ReLU off the last layer"},
                                    check);
}

}  // namespace gradwise
