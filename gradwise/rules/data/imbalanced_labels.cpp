#include <algorithm>
#include <numeric>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct ImbalancedLabels {
  std::int64_t samples = 400;
  double ratio = 10;
};

template <class Fields>
void describe(Fields& fields, ImbalancedLabels& o) {
  fields.add("samples", o.samples, "labels that are needed", at_least(1));
  fields.add("ratio", o.ratio, "samples of the commonest class for one of the median class", at_least(1));
}

void check(const History& history, const ImbalancedLabels& o, Sightings& seen) {
  std::vector<double> counts(static_cast<std::size_t>(std::max<std::int64_t>(0, history.facts.classes)), 0);
  double all = 0;
  for (const BatchReading* batch : history.batches(History::kKeptSteps)) {
    if (batch->tokens &&
        std::accumulate(batch->labels.begin(), batch->labels.end(), std::int64_t{0}) > batch->samples) {
      continue;  // a label for each token: letters and words of a text are uneven by nature
    }
    for (std::size_t c = 0; c < batch->labels.size() && c < counts.size(); ++c) {
      counts[c] += static_cast<double>(batch->labels[c]);
      all += static_cast<double>(batch->labels[c]);
    }
  }
  const auto classes_seen =
      static_cast<double>(std::count_if(counts.begin(), counts.end(), [](double n) { return n > 0; }));
  const bool many = history.facts.classes > 100;  // as words are
  if (history.facts.classes < 2 || many || all < static_cast<double>(o.samples) || classes_seen < 2) {
    return;
  }
  const double most = *std::max_element(counts.begin(), counts.end());
  const double usual =
      std::max(1.0, history.facts.classes == 2 ? *std::min_element(counts.begin(), counts.end()) : median_of(counts));
  if (most > o.ratio * usual && classes_seen >= 0.5 * static_cast<double>(history.facts.classes)) {
    seen.push_back({"", most / usual, o.ratio,
                    "the commonest class has " + figure(most / usual) + " times the samples of a usual one"});
  }
}

}  // namespace

Rule imbalanced_labels() {
  return make_rule<ImbalancedLabels>({.name = "imbalanced_labels",
                                      .about = "one class outweighs the others",
                                      .advice = "weight the loss by class, or sample the classes evenly"},
                                     check);
}

}  // namespace gradwise
