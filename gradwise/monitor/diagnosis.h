#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/finding.h"

namespace gradwise {

/// Joins the issues of rules into causes. Each rule points at one or more causes with a weight; a cause's confidence is
/// 1 - prod(1 - weight) over the rules that have spoken for it (noisy or: Pearl, "Probabilistic Reasoning in
/// Intelligent Systems", 1988, section 4.3.2). A cause that explains what another rests on takes that one's issues as
/// symptoms, unless the other was seen well before it.
class Diagnosis {
 public:
  void add(const Issue& issue);
  /// Takes what the rule has said of a layer for settled.
  void withdraw(const std::string& rule, const std::string& layer) { seen_.erase({rule, layer}); }
  /// Ranked, most likely first; empty where there is nothing to say.
  [[nodiscard]] std::vector<Finding> findings() const;

 private:
  struct Seen {
    Issue first;
    std::int64_t times = 0;
  };
  std::map<std::pair<std::string, std::string>, Seen> seen_;  // by (rule, layer)
};

/// Confidence that a finding needs to be told.
inline constexpr double kToldConfidence = 0.5;

/// "1. learning rate too high (90 %), seen from step 12: ..." with evidence and remedy, several lines.
[[nodiscard]] std::string text_of(const std::vector<Finding>& findings);

}  // namespace gradwise
