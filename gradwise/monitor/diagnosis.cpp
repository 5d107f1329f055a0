#include "gradwise/monitor/diagnosis.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>

#include "gradwise/monitor/causes.h"

namespace gradwise {
namespace {

// What follows from a cause may be seen a little before it: rules need windows of different length.
constexpr std::int64_t kSlack = 100;

struct Suspect {
  const Cause* cause;
  Finding finding;
};

void strongest_first(const Cause& cause, std::vector<Issue>& evidence) {
  const auto weight = [&cause](const Issue& issue) {
    for (const auto& [rule, value] : cause.signs) {
      if (rule == issue.rule) {
        return value;
      }
    }
    return 0.0;
  };
  std::stable_sort(evidence.begin(), evidence.end(), [&weight](const Issue& a, const Issue& b) {
    return weight(a) != weight(b) ? weight(a) > weight(b) : a.step < b.step;
  });
}

const Suspect* suspect_named(const std::vector<Suspect>& suspects, const std::string& name) {
  const auto found =
      std::find_if(suspects.begin(), suspects.end(), [&name](const Suspect& s) { return s.cause->name == name; });
  return found == suspects.end() ? nullptr : &*found;
}

// A suspect that another one explains: which one, or null.
const Suspect* explained_by(const std::vector<Suspect>& suspects, const Suspect& effect) {
  for (const Suspect& root : suspects) {
    const bool brings =
        std::find(root.cause->brings.begin(), root.cause->brings.end(), effect.cause->name) != root.cause->brings.end();
    if (brings && root.finding.step <= effect.finding.step + kSlack) {
      return &root;
    }
  }
  return nullptr;
}

// Signs of an effect, without those that point at its cause too.
void add_symptoms(Finding& finding, const std::vector<Issue>& signs) {
  for (const Issue& sign : signs) {
    const auto same = [&sign](const Issue& told) { return told.rule == sign.rule && told.layer == sign.layer; };
    if (std::ranges::none_of(finding.evidence, same) && std::ranges::none_of(finding.symptoms, same)) {
      finding.symptoms.push_back(sign);
    }
  }
}

void write_issue(std::ostringstream& text, const char* head, const Issue& issue) {
  text << "     " << head << issue.message;
  char figures[96];
  if (issue.value == issue.value && issue.threshold == issue.threshold) {
    std::snprintf(figures, sizeof figures, " (%.3g against %.3g)", issue.value, issue.threshold);
    text << figures;
  }
  text << " [" << issue.rule << ", step " << issue.step << "]\n";
}

}  // namespace

void Diagnosis::add(const Issue& issue) {
  Seen& seen = seen_[{issue.rule, issue.layer}];
  if (seen.times++ == 0) {
    seen.first = issue;
  }
}

std::vector<Finding> Diagnosis::findings() const {
  std::vector<Suspect> suspects;
  for (const Cause& cause : causes()) {
    double doubt = 1;
    Finding finding{
        .cause = cause.name, .title = cause.title, .layer = {}, .evidence = {}, .symptoms = {}, .remedy = cause.remedy};
    for (const auto& [rule, weight] : cause.signs) {
      bool spoke = false;
      for (const auto& [key, seen] : seen_) {
        if (key.first == rule) {
          spoke = true;
          finding.evidence.push_back(seen.first);
        }
      }
      doubt *= spoke ? 1 - weight : 1;
    }
    if (finding.evidence.empty()) {
      continue;
    }
    strongest_first(cause, finding.evidence);
    finding.confidence = 1 - doubt;
    finding.layer = finding.evidence.front().layer;
    finding.step =
        std::min_element(finding.evidence.begin(), finding.evidence.end(), [](const Issue& a, const Issue& b) {
          return a.step < b.step;
        })->step;
    if (finding.confidence >= kToldConfidence) {
      suspects.push_back({&cause, std::move(finding)});
    }
  }
  std::vector<Finding> findings;
  std::set<const Cause*> effects;
  for (const Suspect& suspect : suspects) {
    if (explained_by(suspects, suspect) != nullptr) {
      effects.insert(suspect.cause);
    }
  }
  for (Suspect& suspect : suspects) {
    if (effects.contains(suspect.cause)) {
      continue;
    }
    for (const std::string& name : suspect.cause->brings) {
      const Suspect* effect = suspect_named(suspects, name);
      if (effect != nullptr && effects.contains(effect->cause)) {
        add_symptoms(suspect.finding, effect->finding.evidence);
      }
    }
    findings.push_back(suspect.finding);
  }
  std::stable_sort(findings.begin(), findings.end(),
                   [](const Finding& a, const Finding& b) { return a.confidence > b.confidence; });
  return findings;
}

std::string text_of(const std::vector<Finding>& findings) {
  std::ostringstream text;
  int rank = 0;
  for (const Finding& finding : findings) {
    char head[64];
    std::snprintf(head, sizeof head, "%2d. (%.0f %%) ", ++rank, 100 * finding.confidence);
    text << head << finding.title;
    if (!finding.layer.empty()) {
      text << ": " << finding.layer;
    }
    text << ", seen from step " << finding.step << '\n';
    for (std::size_t i = 0; i < finding.evidence.size() && i < 4; ++i) {
      write_issue(text, "evidence  ", finding.evidence[i]);
    }
    for (std::size_t i = 0; i < finding.symptoms.size() && i < 3; ++i) {
      write_issue(text, "symptom   ", finding.symptoms[i]);
    }
    text << "     remedy    " << finding.remedy << '\n';
  }
  return text.str();
}

}  // namespace gradwise
