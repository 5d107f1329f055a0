// The rules on losses: one history that makes each speak, the healthy one, and a near miss.
#include "tests/rules/histories.h"

namespace gradwise {
namespace {

Change loss_is(const std::function<double(double)>& loss) {
  return [loss](DraftStep& step) { step.info.loss = loss(static_cast<double>(step.info.step)); };
}

// Ten classes; noise that repeats.
double noisy(double t) { return 1 + 0.02 * std::sin(37.7 * t); }

struct LossCase {
  const char* name;
  Rule (*rule)();
  std::function<double(double)> speaks;
  std::function<double(double)> near_miss;
};

class LossRule : public testing::TestWithParam<LossCase> {};

TEST_P(LossRule, SpeaksIsSilentAndJustMisses) {
  const Rule rule = GetParam().rule();
  EXPECT_TRUE(fires(rule, training(400, loss_is(GetParam().speaks))));
  EXPECT_FALSE(fires(rule, training(400))) << "healthy";
  EXPECT_FALSE(fires(rule, training(400, loss_is(GetParam().near_miss)))) << "near miss";
  EXPECT_FALSE(fires(rule, History())) << "nothing seen yet";
}

TEST(NonfiniteLoss, IsSilentWhereNobodyToldTheLoss) {
  const auto untold = [](DraftStep& step) {
    step.info.loss = kNotMeasured;
    step.info.loss_told = false;
  };
  EXPECT_FALSE(fires(nonfinite_loss(), training(3, untold)));
}

INSTANTIATE_TEST_SUITE_P(
    Rules, LossRule,
    testing::Values(LossCase{"nonfinite", nonfinite_loss, [](double t) { return t == 400 ? NAN : 1.0; },
                             [](double t) { return t == 399 ? NAN : 1.0; }},
                    LossCase{"spike", loss_spike, [](double t) { return t == 400 ? 9.0 : 1.0 * noisy(t); },
                             [](double t) { return t == 400 ? 1.9 : 1.0 * noisy(t); }},
                    LossCase{"divergence", loss_divergence,
                             [](double t) { return (t > 350 ? 2.7 : 1.2 + t / 1000) * noisy(t); },
                             [](double t) { return (t > 350 ? 2.2 : 1.2 + t / 1000) * noisy(t); }},
                    LossCase{"oscillation", loss_oscillation,
                             [](double t) { return static_cast<std::int64_t>(t) % 2 == 0 ? 1.5 : 0.7; },
                             [](double t) { return static_cast<std::int64_t>(t) % 2 == 0 ? 1.02 : 0.98; }},
                    LossCase{"plateau", loss_plateau, [](double t) { return (t < 50 ? 2.3 : 2.0) * noisy(t); },
                             [](double t) { return (t < 50 ? 2.3 : 2.0 - t / 1500) * noisy(t); }},
                    LossCase{"not_learning", loss_not_learning, [](double t) { return 2.303 * noisy(t); },
                             [](double t) { return (t < 300 ? 2.303 : 2.18) * noisy(t); }},
                    LossCase{"initial", initial_loss_off, [](double t) { return t < 10 ? 7.5 : 1; },
                             [](double t) { return t < 10 ? 6.5 : 1; }},
                    LossCase{"slow", slow_convergence, [](double t) { return (2.303 - t / 8000) * noisy(t); },
                             [](double t) { return (2.303 - t / 2000) * noisy(t); }}),
    [](const auto& info) { return info.param.name; });

TEST(LossPlateau, LeavesAScheduleAtWorkAndEpochsThatImproveAlone) {
  const auto flat = [](DraftStep& step) { step.info.loss = 2 * noisy(static_cast<double>(step.info.step)); };
  const auto rate = [](double last) {
    return [last](DraftStep& step) { step.info.lr = step.info.step < 350 ? 1e-3 : last; };
  };
  EXPECT_TRUE(fires(loss_plateau(), training(400, flat)));
  EXPECT_FALSE(fires(loss_plateau(), training(400, both_of(flat, rate(9e-4))))) << "the rate is being lowered";
  EXPECT_TRUE(fires(loss_plateau(), training(400, both_of(flat, rate(9.999e-4))))) << "as good as not";
  EXPECT_TRUE(fires(loss_plateau(), training(400, both_of(flat, rate(1e-3))))) << "a rate that stays";
  // Flat in the last thirds that are compared, lower than the epoch before by 3.75 % of it, and by 0.75 %.
  const auto epochs_of_200 = [](double before) {
    return with_facts(training(400,
                               [before](DraftStep& step) {
                                 step.info.loss =
                                     (step.info.step < 100 ? 2.0 + before : 2.0) * noisy(double(step.info.step));
                               }),
                      [](RunFacts& facts) { facts.steps_per_epoch = 200; });
  };
  EXPECT_FALSE(fires(loss_plateau(), epochs_of_200(0.15)));
  EXPECT_TRUE(fires(loss_plateau(), epochs_of_200(0.03)));
}

TEST(LossNotLearning, WantsClassesAndWeightsThatMove) {
  const auto stuck = [](double ratio) {
    return training(200, [ratio](DraftStep& step) {
      step.info.loss = 2.303;
      for (ParameterReading& p : step.reading.parameters) {
        p.update_ratio = ratio;
      }
    });
  };
  EXPECT_TRUE(fires(loss_not_learning(), stuck(1e-3)));
  EXPECT_FALSE(fires(loss_not_learning(), stuck(1e-7))) << "then it is the rate that is too low";
  History early = stuck(1e-3);
  early.facts.steps_per_epoch = 140;
  EXPECT_FALSE(fires(loss_not_learning(), early)) << "not all data seen often enough";
  History regression = stuck(1e-3);
  regression.facts.loss = "mse";
  EXPECT_FALSE(fires(loss_not_learning(), regression));
}

History validated(const std::vector<std::pair<double, double>>& train_and_validation) {
  History history = training(100);
  std::int64_t epoch = 0;
  for (const auto& [train, validation] : train_and_validation) {
    history.validations.push_back({100 * ++epoch, epoch, train, validation, {}});
  }
  return history;
}

TEST(Overfitting, WantsThreeWorseValidationsWhileTrainingImproves) {
  EXPECT_TRUE(fires(overfitting(), validated({{1, 1}, {0.8, 0.9}, {0.6, 0.95}, {0.4, 1.0}, {0.2, 1.1}})));
  EXPECT_FALSE(fires(overfitting(), validated({{1, 1}, {0.8, 0.9}, {0.6, 0.92}, {0.4, 0.93}, {0.2, 0.95}})));
  EXPECT_FALSE(fires(overfitting(), validated({{1, 1}, {0.8, 0.9}, {0.9, 0.95}, {0.9, 1.0}, {0.95, 1.1}})));
  EXPECT_FALSE(fires(overfitting(), validated({{1, 1}, {0.8, 0.9}, {0.6, 0.8}})));
}

TEST(UnlearnedAtValidation, SpeaksOfTheFirstValidationsAlone) {
  EXPECT_TRUE(fires(unlearned_at_validation(), validated({{0.5, 2.3}, {0.4, 2.4}})));
  EXPECT_FALSE(fires(unlearned_at_validation(), validated({{0.5, 2.3}})));
  EXPECT_FALSE(fires(unlearned_at_validation(), validated({{0.5, 1.4}, {0.4, 1.1}})));
  EXPECT_FALSE(fires(unlearned_at_validation(), validated({{.5, 2}, {.4, 2}, {.3, 2}, {.2, 2}, {.1, 2}})));
}

}  // namespace
}  // namespace gradwise
