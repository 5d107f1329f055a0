#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerClassImbalance {
  double threshold_imbalance = 10;
  double threshold_misprediction = 0.7;
  std::int64_t samples = 500;
};

template <class Fields>
void describe(Fields& fields, SagemakerClassImbalance& o) {
  fields.add("threshold_imbalance", o.threshold_imbalance, "samples of the commonest class for one of the rarest",
             at_least(1));
  fields.add("threshold_misprediction", o.threshold_misprediction, "share of a class that is predicted wrongly",
             between(0, 1));
  fields.add("samples", o.samples, "labels that are needed", at_least(1));
}

void check(const History& history, const SagemakerClassImbalance& o, Sightings& seen) {
  const auto classes = static_cast<std::size_t>(std::max<std::int64_t>(0, history.facts.classes));
  std::vector<double> counts(classes, 0);
  std::vector<double> wrong(classes, 0);
  double all = 0;
  for (const BatchReading* batch : history.batches(History::kKeptSteps)) {
    for (std::size_t c = 0; c < classes && c < batch->labels.size(); ++c) {
      counts[c] += static_cast<double>(batch->labels[c]);
      all += static_cast<double>(batch->labels[c]);
      for (std::size_t other = 0; other < classes && !batch->confusion.empty(); ++other) {
        wrong[c] += other == c ? 0 : static_cast<double>(batch->confusion[c * classes + other]);
      }
    }
  }
  if (all < static_cast<double>(o.samples) || classes < 2) {
    return;
  }
  const double least = *std::min_element(counts.begin(), counts.end());
  const double most = *std::max_element(counts.begin(), counts.end());
  double worst = 0;
  for (std::size_t c = 0; c < classes; ++c) {
    worst = std::max(worst, counts[c] > 0 ? wrong[c] / counts[c] : 0);
  }
  if (most > o.threshold_imbalance * least && worst > o.threshold_misprediction) {
    seen.push_back({"", most / least, o.threshold_imbalance,
                    "one class has " + figure(most / least) + " times the samples of another, and " +
                        figure(100 * worst) + " % of a class are predicted wrongly"});
  }
}

}  // namespace

Rule sagemaker_class_imbalance() {
  return make_rule<SagemakerClassImbalance>(
      {
          .name = "sagemaker_class_imbalance",
          .about = "uneven classes, one of them predicted wrongly",
          .set = RuleSet::sagemaker,
          .advice = "weight the loss by class",
          .source = "SageMaker Debugger, ClassImbalance",
      },
      check);
}

}  // namespace gradwise
