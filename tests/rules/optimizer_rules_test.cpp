#include "tests/rules/histories.h"

namespace gradwise {
namespace {

using Layers = std::vector<std::string>;

constexpr std::size_t kMatrices[] = {0, 2, 4};

Change ratios(double ratio) {
  return [ratio](DraftStep& step) {
    for (ParameterReading& p : step.reading.parameters) {
      p.update_norm = ratio * p.weight_norm;
      p.update_ratio = ratio;
    }
  };
}

Change flat_loss(double loss = 2.3) {
  return
      [loss](DraftStep& step) { step.info.loss = loss * (1 + 0.01 * std::sin(static_cast<double>(step.info.step))); };
}

// Falls by this share of it in a hundred steps.
Change sloping_loss(double share) {
  return
      [share](DraftStep& step) { step.info.loss = 2.3 * (1 - share * static_cast<double>(step.info.step - 1) / 100); };
}

TEST(LearningRateTooHigh, ByUpdatesWithoutProgress) {
  EXPECT_EQ(layers_found(learning_rate_too_high(), training(40, both_of(ratios(0.3), flat_loss()))), Layers{""});
  EXPECT_FALSE(fires(learning_rate_too_high(), training(40)));
  EXPECT_FALSE(fires(learning_rate_too_high(), training(40, both_of(ratios(0.09), flat_loss()))));
  EXPECT_FALSE(fires(learning_rate_too_high(), training(40, ratios(0.3)))) << "the loss falls";
  EXPECT_TRUE(fires(learning_rate_too_high(), training(110, both_of(ratios(0.3), sloping_loss(0.09)))));
  EXPECT_FALSE(fires(learning_rate_too_high(), training(110, both_of(ratios(0.3), sloping_loss(0.11)))));
  EXPECT_FALSE(fires(learning_rate_too_high(), training(19, both_of(ratios(0.3), flat_loss()))));
  const auto late = [](std::int64_t first) {
    return both_of(flat_loss(), [first](DraftStep& step) { ratios(step.info.step >= first ? 0.3 : 1e-3)(step); });
  };
  EXPECT_TRUE(fires(learning_rate_too_high(), training(40, late(36))));
  EXPECT_FALSE(fires(learning_rate_too_high(), training(40, late(37)))) << "four of ten readings";
}

TEST(LearningRateTooHigh, AfterABlowUp) {
  const Change blown_up = both_of(ratios(0.3), [](DraftStep& step) {
    step.info.loss = step.info.step == 1 ? 2.3 : step.info.step < 20 ? 900 : 2.4;
  });
  EXPECT_TRUE(fires(learning_rate_too_high(), training(100, blown_up))) << "coming down from there is no progress";
}

TEST(LearningRateTooHigh, ByWhatUpdatesDoToTheirOwnBatch) {
  const auto after = [](double factor, std::int64_t but_step) {
    return [=](DraftStep& step) {
      if (step.info.step % 10 == 0) {
        step.reading.loss_after = step.info.loss * (step.info.step == but_step ? 0.9 : factor);
      }
    };
  };
  EXPECT_TRUE(fires(learning_rate_too_high(), training(120, both_of(flat_loss(), after(1.2, 0)))));
  EXPECT_FALSE(fires(learning_rate_too_high(), training(120, both_of(flat_loss(), after(1.04, 0)))));
  EXPECT_FALSE(fires(learning_rate_too_high(), training(120, both_of(flat_loss(), after(1.2, 70))))) << "nine of ten";
  EXPECT_FALSE(fires(learning_rate_too_high(), training(99, both_of(flat_loss(), after(1.2, 0))))) << "nine values";
  EXPECT_FALSE(fires(learning_rate_too_high(), training(120, after(1.2, 0)))) << "the loss falls all the same";
}

TEST(LearningRateTooLow, WithoutProgress) {
  EXPECT_EQ(layers_found(learning_rate_too_low(), training(120, both_of(ratios(4e-6), flat_loss()))), Layers{""});
  EXPECT_FALSE(fires(learning_rate_too_low(), training(120)));
  EXPECT_FALSE(fires(learning_rate_too_low(), training(120, both_of(ratios(6e-6), flat_loss()))));
  EXPECT_FALSE(fires(learning_rate_too_low(), training(120, ratios(1e-6)))) << "the loss falls";
  EXPECT_TRUE(fires(learning_rate_too_low(), training(120, both_of(ratios(1e-6), sloping_loss(0.045)))));
  EXPECT_TRUE(fires(learning_rate_too_low(), training(120, both_of(ratios(1e-6), sloping_loss(0.2))))) << "it creeps";
  EXPECT_FALSE(fires(learning_rate_too_low(), training(120, both_of(ratios(1e-6), sloping_loss(0.6)))));
  EXPECT_FALSE(fires(learning_rate_too_low(), training(99, both_of(ratios(1e-6), flat_loss()))));
  const Change moved = [](DraftStep& step) {
    for (ParameterReading& p : step.reading.parameters) {
      p.update_ratio = step.info.step == 10 ? 2e-3 : 1e-6;
    }
  };
  EXPECT_FALSE(fires(learning_rate_too_low(), training(120, both_of(moved, flat_loss())))) << "it was high enough once";
}

TEST(LearningRateTooLow, IsNoMatterOfTheSchedule) {
  const auto scheduled = [](const std::function<double(double)>& lr) {
    return both_of(both_of(ratios(1e-6), flat_loss()),
                   [lr](DraftStep& step) { step.info.lr = lr(static_cast<double>(step.info.step)); });
  };
  EXPECT_FALSE(fires(learning_rate_too_low(), training(120, scheduled([](double t) { return 1e-7 * t; }))));
  EXPECT_FALSE(fires(learning_rate_too_low(), training(120, scheduled([](double t) { return 1e-3 / t; }))));
  EXPECT_TRUE(fires(learning_rate_too_low(), training(120, scheduled([](double t) { return 1e-7 - 1e-11 * t; }))));
}

TEST(UpdateRatioOutOfBand, OfOneLayer) {
  const auto one = [](double ratio) {
    return [ratio](DraftStep& step) { step.reading.parameters[2].update_ratio = ratio; };
  };
  EXPECT_EQ(layers_found(update_ratio_out_of_band(), training(30, one(0.2))), Layers{"2.weight"});
  EXPECT_EQ(layers_found(update_ratio_out_of_band(), training(30, one(5e-7))), Layers{"2.weight"});
  EXPECT_FALSE(fires(update_ratio_out_of_band(), training(30)));
  EXPECT_FALSE(fires(update_ratio_out_of_band(), training(30, one(0.09))));
  EXPECT_FALSE(fires(update_ratio_out_of_band(), training(30, one(2e-6))));
  EXPECT_FALSE(fires(update_ratio_out_of_band(), training(30, one(0)))) << "frozen";
  EXPECT_FALSE(fires(update_ratio_out_of_band(), training(30, ratios(5e-7)))) << "all of them: converged";
  EXPECT_FALSE(fires(update_ratio_out_of_band(), training(30, both_of(ratios(2e-6), one(5e-7)))))
      << "falling with them";
  EXPECT_TRUE(fires(update_ratio_out_of_band(), training(30, both_of(ratios(6e-6), one(5e-7)))));
  EXPECT_FALSE(fires(update_ratio_out_of_band(), training(19, one(0.2))));
}

TEST(WeightGrowth, WithoutProgress) {
  const auto growing = [](double times) {
    return [times](DraftStep& step) {
      step.reading.parameters[0].weight_norm = 5 * (1 + (times - 1) * static_cast<double>(step.info.step - 1) / 39);
    };
  };
  EXPECT_EQ(layers_found(weight_growth(), training(40, both_of(growing(6), flat_loss()))), Layers{"0.weight"});
  EXPECT_FALSE(fires(weight_growth(), training(40)));
  EXPECT_FALSE(fires(weight_growth(), training(40, both_of(growing(4.5), flat_loss()))));
  EXPECT_FALSE(fires(weight_growth(), training(40, growing(6)))) << "the loss falls";
  EXPECT_TRUE(fires(weight_growth(), training(40, both_of(growing(6), sloping_loss(0.1)))));
  EXPECT_FALSE(fires(weight_growth(), training(40, both_of(growing(6), sloping_loss(0.2)))));
  EXPECT_FALSE(fires(weight_growth(), training(29, both_of(growing(20), flat_loss()))));
  const Change from_zero = [](DraftStep& step) {
    step.reading.parameters[0].weight_norm = 1e-3 * static_cast<double>(step.info.step);
  };
  EXPECT_FALSE(fires(weight_growth(), training(40, both_of(from_zero, flat_loss())))) << "to a usual size";
}

TEST(StrongWeightDecay, WithoutProgress) {
  const auto shrinking = [](double left) {
    return [left](DraftStep& step) {
      const double share = std::pow(left, static_cast<double>(step.info.step) / 200);
      step.info.param_norm *= share;
      for (const std::size_t i : kMatrices) {
        step.reading.parameters[i].weight_norm *= share;
      }
    };
  };
  const auto decayed = [](History history, double decay = 0.1) {
    history.facts.weight_decay = decay;
    return history;
  };
  const Rule rule = strong_weight_decay();
  EXPECT_EQ(layers_found(rule, decayed(training(200, both_of(shrinking(0.4), flat_loss())))), Layers{""});
  EXPECT_FALSE(fires(rule, decayed(training(200))));
  EXPECT_FALSE(fires(rule, decayed(training(200, both_of(shrinking(0.55), flat_loss())))));
  EXPECT_FALSE(fires(rule, decayed(training(200, shrinking(0.4))))) << "the loss falls";
  EXPECT_TRUE(fires(rule, decayed(training(200, both_of(shrinking(0.4), sloping_loss(0.028))))));
  EXPECT_FALSE(fires(rule, decayed(training(200, both_of(shrinking(0.4), sloping_loss(0.035))))));
  EXPECT_FALSE(fires(rule, decayed(training(200, both_of(shrinking(0.4), flat_loss())), 0)));
  EXPECT_TRUE(fires(rule, decayed(training(200, shrinking(0.4)), 6))) << "0.6 % a step, whatever the loss does";
  EXPECT_FALSE(fires(rule, decayed(training(200, shrinking(0.4)), 4)));
  EXPECT_FALSE(fires(rule, decayed(training(99, both_of(shrinking(0.1), flat_loss())))));
  const auto rate_of_ten = [](DraftStep& step) { step.info.lr = 10; };
  const History thrown = training(200, both_of(shrinking(0.4), rate_of_ten));
  EXPECT_TRUE(fires(rule, decayed(thrown, 0.01)));
  const auto decoupled = [](RunFacts& facts) { facts.decoupled_decay = true; };
  EXPECT_FALSE(fires(rule, decayed(with_facts(thrown, decoupled), 0.01))) << "the learning rate is at fault";
}

TEST(EmaLag, LateInTheTraining) {
  const auto lag = [](double distance, std::int64_t from = 0) {
    return [=](DraftStep& step) {
      if (step.info.step % 20 == 0 && step.info.step >= from) {
        step.reading.ema_distance = distance;
      }
    };
  };
  const auto planned = [](History history, std::int64_t steps) {
    history.facts.planned_steps = steps;
    return history;
  };
  EXPECT_TRUE(fires(ema_lag(), planned(training(300, lag(0.4)), 600)));
  EXPECT_TRUE(fires(ema_lag(), planned(training(300, lag(0.4)), -1)));
  EXPECT_FALSE(fires(ema_lag(), planned(training(300), 600)));
  EXPECT_FALSE(fires(ema_lag(), planned(training(300, lag(0.29)), 600)));
  EXPECT_FALSE(fires(ema_lag(), planned(training(300, lag(0.4)), 601))) << "the first half";
  EXPECT_FALSE(fires(ema_lag(), planned(training(199, lag(0.4)), -1)));
  EXPECT_FALSE(fires(ema_lag(), planned(training(300, lag(0.4, 280)), 600))) << "two values";
}

TEST(StaleOptimizerState, InTheFirstSteps) {
  const auto longer = [](double times) {
    return [times](DraftStep& step) { step.info.update_norm *= step.info.step <= 5 ? times : 1; };
  };
  EXPECT_EQ(layers_found(stale_optimizer_state(), training(40, longer(20))), Layers{""});
  EXPECT_FALSE(fires(stale_optimizer_state(), training(40)));
  EXPECT_FALSE(fires(stale_optimizer_state(), training(40, longer(9)))) << "as Adam's first may be";
  EXPECT_FALSE(fires(stale_optimizer_state(), training(39, longer(20))));
  EXPECT_FALSE(fires(stale_optimizer_state(), training(401, longer(20)))) << "the first steps are forgotten";
  const Change decaying = both_of(longer(20), [](DraftStep& step) { step.info.lr /= step.info.step > 10 ? 20 : 1; });
  EXPECT_FALSE(fires(stale_optimizer_state(), training(40, decaying)));
  const Change outlier = both_of(longer(20), [](DraftStep& step) {
    step.info.grad_norm *= step.info.step == 1 ? 100 : 1;
    step.info.grad_norm_clipped = step.info.grad_norm;
  });
  EXPECT_FALSE(fires(stale_optimizer_state(), training(40, outlier))) << "the gradient explains it";
}

// Step 40 is no number; the losses before it, and by how much the updates before it changed the weights.
History broken(double last_loss, double ratio, std::size_t steps = 40) {
  return training(steps, [=](DraftStep& step) {
    if (step.info.step == 40) {
      step.info.loss = NAN;
      step.info.skipped = true;
    } else if (step.info.step > 37) {
      step.info.loss = last_loss;
      for (ParameterReading& p : step.reading.parameters) {
        p.update_ratio = ratio;
      }
    }
  });
}

TEST(BlowUp, WantsGrowthBeforeTheOverflow) {
  EXPECT_TRUE(fires(blow_up(), broken(30, 1e-3)));
  EXPECT_TRUE(fires(blow_up(), broken(1, 0.4)));
  EXPECT_FALSE(fires(blow_up(), broken(1, 1e-3))) << "an operator's doing";
  EXPECT_FALSE(fires(blow_up(), broken(10, 0.25)));
  EXPECT_FALSE(fires(blow_up(), broken(30, 1e-3, 39))) << "still a number";
}

TEST(WeightJump, InTwentySteps) {
  const auto growing = [](double times) {
    return training(20, [times](DraftStep& step) {
      step.info.loss = 2.3;
      for (ParameterReading& p : step.reading.parameters) {
        p.weight_norm = 3 * (1 + (times - 1) * static_cast<double>(step.info.step - 1) / 19);
      }
    });
  };
  EXPECT_TRUE(fires(weight_jump(), growing(2.7)));
  EXPECT_FALSE(fires(weight_jump(), growing(2.4)));
  EXPECT_NE(weight_jump().issues(growing(2.7)).at(0).message.find("times as large"), std::string::npos);
  const std::string overflowed = weight_jump().issues(growing(1e308)).at(0).message;
  EXPECT_EQ(overflowed.find("inf"), std::string::npos) << overflowed;
  EXPECT_FALSE(fires(weight_jump(), training(20)));
  History learnt = growing(2.7);
  learnt.losses.front() = 10;
  EXPECT_FALSE(fires(weight_jump(), learnt)) << "the loss has fallen by more than half";
  History small = growing(2.7);
  for (ParameterFacts& facts : small.facts.parameters) {
    facts.shape[0] = 400;
  }
  EXPECT_FALSE(fires(weight_jump(), small)) << "grown up to what is usual";
}

TEST(StalledStep, HalfAnHour) {
  const auto waiting = [](History history, double seconds) {
    history.seconds_since_step = seconds;
    return history;
  };
  EXPECT_TRUE(fires(stalled_step(), waiting(training(5), 1801)));
  EXPECT_FALSE(fires(stalled_step(), training(5)));
  EXPECT_FALSE(fires(stalled_step(), waiting(training(5), 1799)));
  EXPECT_FALSE(fires(stalled_step(), waiting(training(5, [](DraftStep& s) { s.info.seconds.total = 400; }), 1999)))
      << "where steps are long";
  EXPECT_FALSE(fires(stalled_step(), waiting(History{}, 1801)));
}

TEST(OptimizerRules, AreSilentWhereNothingWasRead) {
  History bare;
  for (std::int64_t i = 1; i <= 350; ++i) {
    StepInfo info;
    info.step = i;
    bare.add({info, std::make_shared<const StepReading>()});
  }
  for (const Rule& rule : {learning_rate_too_high(), learning_rate_too_low(), update_ratio_out_of_band(),
                           weight_growth(), strong_weight_decay(), ema_lag(), stale_optimizer_state(),
                           constant_initialization(), wide_initialization(), narrow_initialization(), stalled_step()}) {
    EXPECT_FALSE(fires(rule, History{})) << rule.name;
    EXPECT_FALSE(fires(rule, bare)) << rule.name;
    bare.facts = training(1).facts;
    bare.facts.weight_decay = 0.1;
    EXPECT_FALSE(fires(rule, bare)) << rule.name << ", with facts";
    for (const std::size_t steps : {1U, 2U, 9U, 55U, 199U, 399U, 800U}) {
      EXPECT_FALSE(fires(rule, training(steps))) << rule.name << " after " << steps << " healthy steps";
    }
  }
}

}  // namespace
}  // namespace gradwise
