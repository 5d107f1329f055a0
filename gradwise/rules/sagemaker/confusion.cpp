#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct SagemakerConfusion {
  double min_diag = 0.9;
  double max_off_diag = 0.1;
  std::int64_t samples = 500;
};

template <class Fields>
void describe(Fields& fields, SagemakerConfusion& o) {
  fields.add("min_diag", o.min_diag, "least share of a class that is right", between(0, 1));
  fields.add("max_off_diag", o.max_off_diag, "largest share that is taken for another class", between(0, 1));
  fields.add("samples", o.samples, "labels that are needed", at_least(1));
}

void check(const History& history, const SagemakerConfusion& o, Sightings& seen) {
  const auto classes = static_cast<std::size_t>(std::max<std::int64_t>(0, history.facts.classes));
  std::vector<double> counts(classes * classes, 0);
  double all = 0;
  for (const BatchReading* batch : history.batches(History::kKeptSteps)) {
    for (std::size_t i = 0; i < counts.size() && i < batch->confusion.size(); ++i) {
      counts[i] += static_cast<double>(batch->confusion[i]);
      all += static_cast<double>(batch->confusion[i]);
    }
  }
  if (all < static_cast<double>(o.samples)) {
    return;
  }
  for (std::size_t truth = 0; truth < classes; ++truth) {
    double of_class = 0;
    double most_other = 0;
    for (std::size_t other = 0; other < classes; ++other) {
      of_class += counts[truth * classes + other];
      most_other = std::max(most_other, other == truth ? 0 : counts[truth * classes + other]);
    }
    const double right = counts[truth * classes + truth] / of_class;
    if (right < o.min_diag || most_other / of_class > o.max_off_diag) {
      seen.push_back({"", right, o.min_diag,
                      figure(100 * right) + " % of class " + figure(static_cast<double>(truth)) + " are right"});
      return;
    }
  }
}

}  // namespace

Rule sagemaker_confusion() {
  return make_rule<SagemakerConfusion>(
      {
          .name = "sagemaker_confusion",
          .about = "a confusion matrix far from its diagonal",
          .set = RuleSet::sagemaker,
          .advice = "look at the classes that are confused",
          .source = "SageMaker Debugger, Confusion",
      },
      check);
}

}  // namespace gradwise
