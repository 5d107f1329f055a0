// How issues become findings: confidence, roots and what follows from them, rank.
#include "gradwise/monitor/diagnosis.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "gradwise/monitor/causes.h"
#include "gradwise/rules/all_rules.h"

namespace gradwise {
namespace {

Issue issue_of(const std::string& rule, std::int64_t step, const std::string& layer = "") {
  return {.rule = rule, .layer = layer, .step = step, .value = 1, .threshold = 2, .message = "seen by " + rule};
}

std::vector<Finding> findings_of(const std::vector<Issue>& issues) {
  Diagnosis diagnosis;
  for (const Issue& issue : issues) {
    diagnosis.add(issue);
  }
  return diagnosis.findings();
}

TEST(Diagnosis, HasNothingToSayOfNothing) { EXPECT_TRUE(findings_of({}).empty()); }

TEST(Diagnosis, PassesOverWhatIsNoStrongSign) { EXPECT_TRUE(findings_of({issue_of("loss_plateau", 300)}).empty()); }

TEST(Diagnosis, AddsUpSignsOfOneCause) {
  const auto one = findings_of({issue_of("loss_divergence", 50)});
  const auto two = findings_of({issue_of("loss_divergence", 50), issue_of("loss_oscillation", 60)});
  ASSERT_EQ(one.size(), 1U);
  ASSERT_EQ(two.size(), 1U);
  EXPECT_EQ(two[0].cause, "learning_rate_too_high");
  EXPECT_NEAR(one[0].confidence, 0.6, 1e-12);
  EXPECT_NEAR(two[0].confidence, 1 - 0.4 * 0.45, 1e-12);
  EXPECT_EQ(two[0].step, 50);
  EXPECT_EQ(two[0].evidence.size(), 2U);
}

TEST(Diagnosis, TakesWhatFollowsFromACauseForItsSymptom) {
  const auto findings = findings_of({issue_of("learning_rate_too_high", 10), issue_of("dead_units", 30, "2")});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].cause, "learning_rate_too_high");
  ASSERT_EQ(findings[0].symptoms.size(), 1U);
  EXPECT_EQ(findings[0].symptoms[0].layer, "2");
}

TEST(Diagnosis, ForgetsWhatIsSettled) {
  Diagnosis diagnosis;
  diagnosis.add(issue_of("frozen_as_initialized", 1, "0.weight"));
  diagnosis.add(issue_of("frozen_as_initialized", 1, "2.weight"));
  ASSERT_EQ(diagnosis.findings().size(), 1U);
  diagnosis.withdraw("frozen_as_initialized", "0.weight");
  EXPECT_EQ(diagnosis.findings().front().layer, "2.weight");
  diagnosis.withdraw("frozen_as_initialized", "2.weight");
  EXPECT_TRUE(diagnosis.findings().empty());
}

TEST(Diagnosis, TellsASignOfCauseAndEffectOnce) {
  const auto findings = findings_of({issue_of("learning_rate_too_high", 10), issue_of("loss_spike", 30)});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].evidence.size(), 2U);
  EXPECT_TRUE(findings[0].symptoms.empty());
}

TEST(Diagnosis, KeepsACauseThatWasThereLongBeforeItsWouldBeRoot) {
  const auto findings = findings_of({issue_of("learning_rate_too_high", 900), issue_of("dead_units", 3, "2")});
  ASSERT_EQ(findings.size(), 2U);
}

TEST(Diagnosis, RanksByConfidence) {
  const auto findings = findings_of({issue_of("overfitting", 500), issue_of("missing_gradient", 5, "a.weight")});
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(findings[0].cause, "detached_layer");
  EXPECT_EQ(findings[0].layer, "a.weight");
  const std::string text = text_of(findings);
  EXPECT_NE(text.find(" 1. (95 %) a part of the model gets no gradient: a.weight, seen from step 5"), std::string::npos)
      << text;
  EXPECT_NE(text.find("seen by overfitting (1 against 2) [overfitting, step 500]"), std::string::npos) << text;
}

TEST(Causes, SpeakOfRulesAndCausesThatThereAre) {
  std::set<std::string> names;
  for (const Cause& cause : causes()) {
    EXPECT_TRUE(names.insert(cause.name).second) << cause.name << " stands twice";
  }
  std::set<std::string> rules = {"nonfinite_loss"};
  for (const Rule& rule : all_rules()) {
    rules.insert(rule.name);
  }
  for (const Cause& cause : causes()) {
    EXPECT_FALSE(cause.remedy.empty());
    for (const auto& [rule, weight] : cause.signs) {
      EXPECT_TRUE(rules.contains(rule)) << cause.name << " rests on the unknown rule " << rule;
    }
    for (const std::string& effect : cause.brings) {
      EXPECT_TRUE(names.contains(effect)) << cause.name << " brings the unknown cause " << effect;
    }
  }
}

TEST(Causes, BringAboutNothingThatBringsThemAbout) {
  std::set<std::string> done;
  for (bool moved = true; moved;) {  // those that bring only what is done already
    moved = false;
    for (const Cause& cause : causes()) {
      const bool ready = std::all_of(cause.brings.begin(), cause.brings.end(),
                                     [&done](const std::string& effect) { return done.contains(effect); });
      moved = (ready && done.insert(cause.name).second) || moved;
    }
  }
  EXPECT_EQ(done.size(), causes().size());
}

TEST(Causes, UseEveryRuleOfGradwisesOwnThatIsNoRemark) {
  std::set<std::string> used;
  for (const Cause& cause : causes()) {
    for (const auto& [rule, weight] : cause.signs) {
      used.insert(rule);
    }
  }
  for (const Rule& rule : all_rules()) {
    if (rule.set == RuleSet::gradwise && rule.severity != Severity::info) {
      EXPECT_TRUE(used.contains(rule.name)) << rule.name;
    }
  }
}

}  // namespace
}  // namespace gradwise
