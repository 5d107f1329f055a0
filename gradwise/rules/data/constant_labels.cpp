#include <algorithm>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct ConstantLabels {
  std::int64_t samples = 256;
  double share = 0.995;
};

template <class Fields>
void describe(Fields& fields, ConstantLabels& o) {
  fields.add("samples", o.samples, "labels that are needed", at_least(2));
  fields.add("share", o.share, "share of one class", between(0, 1));
}

void check(const History& history, const ConstantLabels& o, Sightings& seen) {
  const auto batches = history.batches(History::kKeptSteps);
  std::vector<double> counts(static_cast<std::size_t>(std::max<std::int64_t>(0, history.facts.classes)), 0);
  double all = 0;
  for (const BatchReading* batch : batches) {
    for (std::size_t c = 0; c < batch->labels.size() && c < counts.size(); ++c) {
      counts[c] += static_cast<double>(batch->labels[c]);
      all += static_cast<double>(batch->labels[c]);
    }
  }
  // Sorted data begin with one class too: that is told once a second one has had its turn.
  if (history.facts.classes < 2 || all < static_cast<double>(o.samples)) {
    return;
  }
  const auto commonest = std::max_element(counts.begin(), counts.end());
  if (*commonest / all > o.share) {
    seen.push_back({"", *commonest / all, o.share,
                    figure(100 * *commonest / all) + " % of the labels are class " +
                        figure(static_cast<double>(commonest - counts.begin()))});
  }
}

}  // namespace

Rule constant_labels() {
  return make_rule<ConstantLabels>({.name = "constant_labels",
                                    .about = "nearly all labels are of one class",
                                    .severity = Severity::error,
                                    .advice = "look at the reading of the labels, and shuffle the data"},
                                   check);
}

}  // namespace gradwise
