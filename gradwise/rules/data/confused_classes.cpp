#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct ConfusedClasses {
  std::int64_t samples = 50;
  double share = 0.4;
  double accuracy = 0.5;
  std::int64_t warmup = 50;
};

template <class Fields>
void describe(Fields& fields, ConfusedClasses& o) {
  fields.add("samples", o.samples, "samples of a class that are needed", at_least(1));
  fields.add("share", o.share, "share of a class that is taken for another one", between(0, 1));
  fields.add("accuracy", o.accuracy, "accuracy from which it speaks", between(0, 1));
  fields.add("warmup", o.warmup, "it keeps still where the learning rate has risen over so many steps", at_least(1));
}

void check(const History& history, const ConfusedClasses& o, Sightings& seen) {
  if (rate_rises(history, static_cast<std::size_t>(o.warmup))) {
    return;
  }
  const auto classes = static_cast<std::size_t>(std::max<std::int64_t>(0, history.facts.classes));
  std::vector<double> counts(classes * classes, 0);
  std::vector<double> accuracies;
  for (const BatchReading* batch : history.batches(100)) {
    accuracies.push_back(batch->accuracy);
    for (std::size_t i = 0; i < batch->confusion.size() && i < counts.size(); ++i) {
      counts[i] += static_cast<double>(batch->confusion[i]);
    }
  }
  if (!(median_of(accuracies) > o.accuracy)) {
    return;
  }
  for (std::size_t truth = 0; truth < classes; ++truth) {
    double all = 0;
    for (std::size_t other = 0; other < classes; ++other) {
      all += counts[truth * classes + other];
    }
    for (std::size_t other = 0; other < classes && all >= static_cast<double>(o.samples); ++other) {
      const double share = counts[truth * classes + other] / all;
      if (other != truth && share > o.share) {
        seen.push_back({"", share, o.share,
                        figure(100 * share) + " % of class " + figure(static_cast<double>(truth)) +
                            " are taken for class " + figure(static_cast<double>(other))});
      }
    }
  }
}

}  // namespace

Rule confused_classes() {
  return make_rule<ConfusedClasses>({.name = "confused_classes",
                                     .about = "one class is taken for another",
                                     .severity = Severity::info,
                                     .advice = "look at the labels of both classes; weight the loss by class"},
                                    check);
}

}  // namespace gradwise
