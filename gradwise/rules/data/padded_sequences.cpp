#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

struct PaddedSequences {
  std::int64_t batches = 5;
  double share = 0.5;
};

template <class Fields>
void describe(Fields& fields, PaddedSequences& o) {
  fields.add("batches", o.batches, "batches that are needed", at_least(1));
  fields.add("share", o.share, "share of the tokens that are padding", between(0, 1));
}

void check(const History& history, const PaddedSequences& o, Sightings& seen) {
  std::vector<double> shares;
  for (const BatchReading* batch : history.batches(20)) {
    if (batch->padding >= 0) {
      shares.push_back(batch->padding);
    }
  }
  if (std::ssize(shares) >= o.batches && median_of(shares) > o.share) {
    seen.push_back({"", median_of(shares), o.share, figure(100 * median_of(shares)) + " % of the tokens are padding"});
  }
}

}  // namespace

Rule padded_sequences() {
  return make_rule<PaddedSequences>({.name = "padded_sequences",
                                     .about = "most tokens of a batch are padding",
                                     .severity = Severity::info,
                                     .advice = "put samples of like length into one batch"},
                                    check);
}

}  // namespace gradwise
