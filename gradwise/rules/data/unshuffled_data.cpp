#include <algorithm>
#include <cmath>

#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct UnshuffledData {
  std::int64_t batches = 10;
  double share = 0.5;
};

template <class Fields>
void describe(Fields& fields, UnshuffledData& o) {
  fields.add("batches", o.batches, "batches that are needed", at_least(3));
  fields.add("share", o.share, "entropy within a batch, as a share of what a shuffled one would have", between(0, 1));
}

double label_entropy(const std::vector<double>& counts) {
  double all = 0;
  for (const double count : counts) {
    all += count;
  }
  double entropy = 0;
  for (const double count : counts) {
    entropy -= count > 0 ? count / all * std::log(count / all) : 0;
  }
  return entropy;
}

void check(const History& history, const UnshuffledData& o, Sightings& seen) {
  std::vector<double> within;
  std::vector<double> counts(static_cast<std::size_t>(std::max<std::int64_t>(0, history.facts.classes)), 0);
  double largest = 0;
  for (const BatchReading* batch : history.batches(History::kKeptSteps)) {
    const double size = static_cast<double>(batch->samples);
    if (batch->samples < 8 || batch->labels.size() != counts.size()) {
      continue;
    }
    largest = std::max(largest, size);
    std::vector<double> own(batch->labels.begin(), batch->labels.end());
    within.push_back(label_entropy(own));
    for (std::size_t c = 0; c < counts.size(); ++c) {
      counts[c] += own[c];
    }
  }
  if (std::ssize(within) < o.batches || history.facts.classes < 2) {
    return;
  }
  // A batch of few samples can't show the whole entropy: about ln(its size) at most, less (C - 1) / 2n (Miller, 1955).
  const double classes = static_cast<double>(counts.size());
  const double expected = std::min(label_entropy(counts) - (classes - 1) / (2 * largest), 0.8 * std::log(largest));
  const double found = mean_of(within);
  if (expected > 0.2 && found < o.share * expected) {
    seen.push_back({"", found, o.share * expected,
                    "the labels of a batch have an entropy of " + figure(found) + ", shuffled ones would have " +
                        figure(expected) + ": the data come sorted"});
  }
}

}  // namespace

Rule unshuffled_data() {
  return make_rule<UnshuffledData>({.name = "unshuffled_data",
                                    .about = "batches hold fewer classes than shuffled data would give them",
                                    .severity = Severity::error,
                                    .advice = "shuffle the training data (loader.shuffle = true)"},
                                   check);
}

}  // namespace gradwise
