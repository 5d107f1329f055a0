#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct InputScale {
  std::int64_t batches = 3;
  double off_centre = 5;
  double most = 20;
  double least = 0.01;
  double outlier = 2000;
};

template <class Fields>
void describe(Fields& fields, InputScale& o) {
  fields.add("batches", o.batches, "batches in a row", at_least(1));
  fields.add("off_centre", o.off_centre, "mean over deviation", positive());
  fields.add("most", o.most, "largest deviation", positive());
  fields.add("least", o.least, "smallest deviation", positive());
  fields.add("outlier", o.outlier, "largest magnitude", positive());
}

void check(const History& history, const InputScale& o, Sightings& seen) {
  const auto batches = history.batches(10);
  std::vector<double> means;
  std::vector<double> deviations;
  std::vector<double> magnitudes;
  for (const BatchReading* batch : batches) {
    if (!batch->tokens && batch->input_deviation > 0) {
      means.push_back(std::abs(batch->input_mean) / batch->input_deviation);
      deviations.push_back(batch->input_deviation);
      magnitudes.push_back(batch->input_max);
    }
  }
  if (std::ssize(means) < o.batches) {
    return;
  }
  const auto tell = [&seen](double value, double bound, const std::string& what) {
    seen.push_back({"", value, bound, "the inputs are badly scaled: " + what + " " + figure(value)});
  };
  if (median_of(means) > o.off_centre) {
    tell(median_of(means), o.off_centre, "their mean over their deviation is");
  } else if (median_of(deviations) > o.most) {
    tell(median_of(deviations), o.most, "their deviation is");
  } else if (median_of(deviations) < o.least) {
    tell(median_of(deviations), o.least, "their deviation is only");
  } else if (median_of(magnitudes) > o.outlier) {
    tell(median_of(magnitudes), o.outlier, "the largest is");
  }
}

}  // namespace

Rule input_scale() {
  return make_rule<InputScale>(
      {.name = "input_scale",
       .about = "inputs far from mean 0 and deviation 1",
       .advice = "standardise the inputs by mean and deviation of the training data (loader.mean, loader.std)"},
      check);
}

}  // namespace gradwise
