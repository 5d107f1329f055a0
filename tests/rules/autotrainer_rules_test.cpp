// AUTOTRAINER's five rules at their published thresholds; all look only at trainings of low accuracy.
#include "tests/rules/histories.h"

namespace gradwise {
namespace {

// First and last weight's gradients; accuracy too low for it to look away.
Change gradients(double first, double last, double accuracy = 0.5) {
  return [=](DraftStep& step) {
    step.reading.parameters[0].grad_norm = first;
    step.reading.parameters[4].grad_norm = last;
    step.batch.accuracy = accuracy;
  };
}

TEST(Autotrainer, VanishingWantsASmallRatioAndASmallNorm) {
  const Rule rule = autotrainer_vanishing_gradient();
  EXPECT_EQ(layers_found(rule, training(5, gradients(0.9e-4, 1))), std::vector<std::string>{"0.weight"});
  EXPECT_FALSE(fires(rule, training(5, gradients(1.1e-4, 1))));
  EXPECT_FALSE(fires(rule, training(5, gradients(0.9e-4, 0.08))));
  EXPECT_FALSE(fires(rule, training(5, gradients(0.9e-4, 1, 0.71)))) << "it learns";
  EXPECT_FALSE(fires(rule, training(5)));
}

TEST(Autotrainer, ExplodingWantsARatioAbove70OrNan) {
  const Rule rule = autotrainer_exploding_gradient();
  EXPECT_TRUE(fires(rule, training(5, gradients(71, 1))));
  EXPECT_FALSE(fires(rule, training(5, gradients(69, 1))));
  EXPECT_FALSE(fires(rule, training(5)));
  EXPECT_TRUE(fires(rule, training(5, [](DraftStep& step) {
                      step.batch.accuracy = 0.1;
                      step.info.loss = NAN;
                    })));
}

TEST(Autotrainer, DyingReluWantsSeventyPercentOfZeros) {
  const auto zeros = [](double share) {
    return [share](DraftStep& step) {
      step.reading.parameters[2].grad_zeros = share;
      step.batch.accuracy = 0.3;
    };
  };
  EXPECT_EQ(layers_found(autotrainer_dying_relu(), training(5, zeros(0.71))), std::vector<std::string>{"2.weight"});
  EXPECT_FALSE(fires(autotrainer_dying_relu(), training(5, zeros(0.69))));
  EXPECT_FALSE(fires(autotrainer_dying_relu(), training(5)));
}

History accuracies(const std::vector<double>& values) {
  History history = training(5);
  for (const double value : values) {
    history.validations.push_back({5, 0, 1, 1, {{"accuracy", value}}});
  }
  return history;
}

TEST(Autotrainer, OscillatingWantsSwingsOfThreePoints) {
  const Rule rule = autotrainer_oscillating_loss();
  EXPECT_TRUE(fires(rule, accuracies({0.5, 0.54, 0.5, 0.54, 0.5, 0.54})));
  EXPECT_FALSE(fires(rule, accuracies({0.5, 0.52, 0.5, 0.52, 0.5, 0.52})));
  EXPECT_FALSE(fires(rule, accuracies({0.5, 0.54, 0.5, 0.75, 0.5, 0.54}))) << "it learns";
  EXPECT_FALSE(fires(rule, training(5)));
}

TEST(Autotrainer, SlowConvergenceWantsLessThanAPointAnEpoch) {
  const Rule rule = autotrainer_slow_convergence();
  EXPECT_TRUE(fires(rule, accuracies({0.1, 0.105, 0.11})));
  EXPECT_FALSE(fires(rule, accuracies({0.1, 0.12, 0.14})));
  EXPECT_FALSE(fires(rule, training(5)));
}

TEST(Rules, AreAtLeastFortyWithNamesSourcesAndAdvice) {
  const std::vector<Rule> rules = all_rules();
  EXPECT_GE(rules.size(), 67U);
  std::vector<std::string> names;
  for (const Rule& rule : rules) {
    EXPECT_FALSE(rule.about.empty()) << rule.name;
    EXPECT_FALSE(rule.advice.empty()) << rule.name;
    EXPECT_FALSE(rule.parameters.empty()) << rule.name;
    EXPECT_TRUE(!rule.source.empty() || rule.set == RuleSet::gradwise) << rule.name;
    EXPECT_TRUE(rule.issues(History()).empty()) << rule.name << " speaks of nothing";
    names.push_back(rule.name);
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

TEST(Rules, OfGradwisesOwnAreSilentOnAHealthyTraining) {
  const History history = training(400);
  for (const Rule& rule : all_rules()) {
    if (rule.set == RuleSet::gradwise) {
      EXPECT_FALSE(fires(rule, history)) << rule.name;
    }
  }
}

}  // namespace
}  // namespace gradwise
