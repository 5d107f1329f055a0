#include <limits>

#include "tests/rules/histories.h"

namespace gradwise {
namespace {

using Layers = std::vector<std::string>;

constexpr std::size_t kWeights[] = {0, 2, 4};
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sets one figure of one parameter in every step.
Change set(std::size_t parameter, double ParameterReading::* figure, double value) {
  return [=](DraftStep& step) { step.reading.parameters[parameter].*figure = value; };
}

Change from(std::int64_t step, const Change& change) {
  return [=](DraftStep& draft) {
    if (draft.info.step >= step) {
      change(draft);
    }
  };
}

TEST(NonfiniteGradient, NamesTheFirstInBackwardOrder) {
  const Change hit = from(30, [](DraftStep& step) {
    step.reading.parameters[0].grad_nans = 3;
    step.reading.parameters[2].grad_infs = 1;
  });
  EXPECT_EQ(layers_found(nonfinite_gradient(), training(30, hit)), Layers{"2.weight"});
  const std::string one = nonfinite_gradient().issues(training(30, hit)).at(0).message;
  EXPECT_TRUE(one.starts_with("1 element of the gradient of 2.weight is ")) << one;
  EXPECT_FALSE(fires(nonfinite_gradient(), training(30)));
  EXPECT_FALSE(fires(nonfinite_gradient(), training(29, hit)));
  EXPECT_FALSE(fires(nonfinite_gradient(), History{}));
}

TEST(NonfiniteGradient, OfASkippedStepWithoutAReading) {
  History history = training(20);
  StepInfo info = history.now().info;
  info.skipped = true;
  history.add({info, nullptr});
  EXPECT_FALSE(fires(nonfinite_gradient(), history)) << "an observer may skip a step";
  info.grad_norm = kInfinity;
  history.add({info, nullptr});
  EXPECT_EQ(layers_found(nonfinite_gradient(), history), Layers{""});
}

TEST(NonfiniteGradient, AScalerMayOverflowWhileItFindsItsScale) {
  const auto overflow = [](std::int64_t first) {
    return [first](DraftStep& step) {
      step.info.loss_scale = 1024;
      step.info.skipped = step.info.step >= first;
      step.reading.parameters[4].grad_infs = step.info.skipped ? 7 : 0;
    };
  };
  EXPECT_FALSE(fires(nonfinite_gradient(), training(30, overflow(22)))) << "nine steps";
  EXPECT_EQ(layers_found(nonfinite_gradient(), training(30, overflow(21))), Layers{"4.weight"}) << "ten steps";
}

TEST(VanishingFlow, NamesWhereTheFlowFalls) {
  const auto flow = [](double first, double update) {
    return [=](DraftStep& step) {
      step.reading.parameters[0].grad_norm *= first;
      step.reading.parameters[0].update_ratio *= update;
    };
  };
  EXPECT_EQ(layers_found(vanishing_flow(), training(40, flow(8e-5, 0.008))), Layers{"0.weight"});
  const Change both = [](DraftStep& step) {
    for (const std::size_t i : {0U, 2U}) {
      step.reading.parameters[i].grad_norm *= 1e-5;
      step.reading.parameters[i].update_ratio = kNotMeasured;
    }
  };
  EXPECT_EQ(layers_found(vanishing_flow(), training(40, both)), Layers{"2.weight"}) << "updates not measured";
  EXPECT_FALSE(fires(vanishing_flow(), training(40)));
  EXPECT_FALSE(fires(vanishing_flow(), training(40, flow(1.1e-4, 1e-4))));
  EXPECT_FALSE(fires(vanishing_flow(), training(40, flow(1e-5, 0.012)))) << "Adam makes up for it";
  EXPECT_FALSE(fires(vanishing_flow(), training(40, flow(0, 0)))) << "that is a frozen layer";
  EXPECT_FALSE(fires(vanishing_flow(), training(19, flow(1e-5, 1e-4))));
}

TEST(VanishingFlow, MayOpenByItself) {
  const Change opening = [](DraftStep& step) {
    const double open = 1e-7 * std::exp(0.1 * static_cast<double>(step.info.step));
    step.reading.parameters[0].grad_norm *= open;
    step.reading.parameters[0].update_ratio *= open;
  };
  EXPECT_FALSE(fires(vanishing_flow(), training(40, opening)));
}

TEST(ExplodingFlow, FromTheOutputToTheInput) {
  const auto flow = [](double ratio) {
    return [ratio](DraftStep& step) { step.reading.parameters[0].grad_norm *= ratio; };
  };
  EXPECT_EQ(layers_found(exploding_flow(), training(40, flow(2e4))), Layers{"0.weight"});
  EXPECT_FALSE(fires(exploding_flow(), training(40)));
  EXPECT_FALSE(fires(exploding_flow(), training(40, flow(8e3))));
  EXPECT_FALSE(fires(exploding_flow(), training(9, flow(2e4))));
  EXPECT_FALSE(fires(exploding_flow(), training(40, set(4, &ParameterReading::grad_norm, 0))));
}

TEST(ExplodingGradient, BesideItsPast) {
  const auto jump = [](double factor, std::int64_t step) {
    return from(step, [factor](DraftStep& draft) { draft.info.grad_norm *= factor; });
  };
  EXPECT_EQ(layers_found(exploding_gradient(), training(80, jump(150, 76))), Layers{""});
  EXPECT_FALSE(fires(exploding_gradient(), training(80)));
  EXPECT_FALSE(fires(exploding_gradient(), training(80, jump(70, 76))));
  EXPECT_FALSE(fires(exploding_gradient(), training(80, jump(150, 79)))) << "two steps are a spike";
  EXPECT_FALSE(fires(exploding_gradient(), training(50, jump(150, 46))));
}

TEST(ExplodingGradient, OfAConvergedModelIsNone) {
  const Change converged = [](DraftStep& step) { step.info.grad_norm *= step.info.step < 76 ? 1e-6 : 8e-3; };
  EXPECT_FALSE(fires(exploding_gradient(), training(80, converged)));
}

TEST(ExplodingGradient, BeyondAllBounds) {
  const auto growing = [](double last) {
    return [last](DraftStep& step) { step.info.grad_norm = std::pow(last, static_cast<double>(step.info.step) / 30); };
  };
  EXPECT_TRUE(fires(exploding_gradient(), training(30, growing(2.5e4))));
  EXPECT_FALSE(fires(exploding_gradient(), training(30, growing(1.5e4))));
  EXPECT_FALSE(fires(exploding_gradient(), training(30, [](DraftStep& s) { s.info.grad_norm = 5e4; })))
      << "a loss that is a sum has such gradients from the first";
  const Change grown = [](DraftStep& step) { step.info.grad_norm = step.info.step < 20 ? 2e3 : 1.8e4; };
  EXPECT_FALSE(fires(exploding_gradient(), training(30, grown))) << "nine times";
}

TEST(GradientImbalance, OfOneLayer) {
  EXPECT_EQ(layers_found(gradient_imbalance(), training(40, set(2, &ParameterReading::update_ratio, 2))),
            Layers{"2.weight"});
  EXPECT_EQ(layers_found(gradient_imbalance(), training(40, set(0, &ParameterReading::update_ratio, 5e-7))),
            Layers{"0.weight"});
  EXPECT_FALSE(fires(gradient_imbalance(), training(40)));
  EXPECT_FALSE(fires(gradient_imbalance(), training(40, set(2, &ParameterReading::update_ratio, 0.9))));
  EXPECT_FALSE(fires(gradient_imbalance(), training(40, set(2, &ParameterReading::update_ratio, 0)))) << "frozen";
  EXPECT_FALSE(fires(gradient_imbalance(), training(19, set(2, &ParameterReading::update_ratio, 2))));
}

TEST(GradientImbalance, ByGradientsWhereUpdatesAreNotMeasured) {
  const auto unequal = [](double factor) {
    return [factor](DraftStep& step) {
      for (ParameterReading& p : step.reading.parameters) {
        p.update_ratio = kNotMeasured;
      }
      step.reading.parameters[4].grad_norm *= factor;
    };
  };
  EXPECT_EQ(layers_found(gradient_imbalance(), training(40, unequal(2000))), Layers{"4.weight"});
  EXPECT_FALSE(fires(gradient_imbalance(), training(40, unequal(500))));
}

TEST(GradientImbalance, PassesOverEmbeddings) {
  const History history = training(40, set(0, &ParameterReading::update_ratio, 5e-7));
  const auto named = [](RunFacts& facts) { facts.parameters[0].name = "Embedding.weight"; };
  EXPECT_FALSE(fires(gradient_imbalance(), with_facts(history, named)));
}

TEST(MissingGradient, OfOneParameter) {
  const Change gone = [](DraftStep& step) {
    step.reading.parameters[3].missing = true;
    step.reading.parameters[3].grad_norm = kNotMeasured;
  };
  EXPECT_EQ(layers_found(missing_gradient(), training(20, gone)), Layers{"2.bias"});
  EXPECT_FALSE(fires(missing_gradient(), training(20)));
  EXPECT_FALSE(fires(missing_gradient(), training(20, from(12, gone)))) << "nine readings";
  EXPECT_FALSE(fires(missing_gradient(),
                     with_facts(training(20, gone), [](RunFacts& facts) { facts.parameters[3].trainable = false; })));
}

TEST(MissingGradient, OfAllIsNobodysFault) {
  const Change all = [](DraftStep& step) {
    for (ParameterReading& p : step.reading.parameters) {
      p.missing = true;
      p.grad_norm = kNotMeasured;
    }
  };
  EXPECT_FALSE(fires(missing_gradient(), training(20, all)));
}

TEST(FrozenLayer, WithoutAGradient) {
  const Change frozen = set(2, &ParameterReading::grad_norm, 0);
  EXPECT_EQ(layers_found(frozen_layer(), training(20, frozen)), Layers{"2.weight"});
  EXPECT_FALSE(fires(frozen_layer(), training(20)));
  EXPECT_FALSE(fires(frozen_layer(), training(20, from(12, frozen))));
  EXPECT_FALSE(fires(frozen_layer(), training(20, set(2, &ParameterReading::grad_norm, 1e-30))));
  const Change all = [](DraftStep& step) {
    for (ParameterReading& p : step.reading.parameters) {
      p.grad_norm = 0;
    }
  };
  EXPECT_FALSE(fires(frozen_layer(), training(20, all))) << "the training is over";
}

TEST(FrozenLayer, WithoutAnUpdate) {
  const Change left_out = set(4, &ParameterReading::update_norm, 0);
  EXPECT_EQ(layers_found(frozen_layer(), training(60, left_out)), Layers{"4.weight"});
  EXPECT_FALSE(fires(frozen_layer(), training(60, from(32, left_out)))) << "29 readings";
  const auto but = [&left_out](const Change& change) {
    return [left_out, change](DraftStep& step) {
      left_out(step);
      change(step);
    };
  };
  EXPECT_FALSE(fires(frozen_layer(), training(60, but([](DraftStep& s) { s.info.lr = 0; }))));
  EXPECT_FALSE(fires(frozen_layer(), training(60, but([](DraftStep& s) { s.info.skipped = s.info.step == 55; }))));
}

TEST(UntrainedParameters, BesideTrainedOnes) {
  const auto freeze = [](std::vector<std::size_t> which) {
    return [which](RunFacts& facts) {
      for (const std::size_t i : which) {
        facts.parameters[i].trainable = false;
      }
    };
  };
  EXPECT_EQ(layers_found(untrained_parameters(), with_facts(training(3), freeze({0, 1, 2}))), Layers{"0.weight"});
  EXPECT_FALSE(fires(untrained_parameters(), training(3)));
  EXPECT_FALSE(fires(untrained_parameters(), with_facts(training(3), freeze({1, 3})))) << "biases";
  EXPECT_FALSE(fires(untrained_parameters(), with_facts(training(3), freeze({0, 2, 4})))) << "none trains";
  EXPECT_FALSE(fires(untrained_parameters(), with_facts(History{}, [](RunFacts&) {})));
}

TEST(GradientUnderflow, InHalfPrecision) {
  const auto underflow = [](double zeros, double largest) {
    return [=](DraftStep& step) {
      step.reading.parameters[2].grad_zeros = zeros;
      step.reading.parameters[2].grad_max = largest;
    };
  };
  const auto half = [](RunFacts& facts) { facts.precision = "float16"; };
  const History firing = training(20, underflow(0.7, 4e-3));
  EXPECT_EQ(layers_found(gradient_underflow(), with_facts(firing, half)), Layers{"2.weight"});
  EXPECT_FALSE(fires(gradient_underflow(), firing)) << "float32";
  EXPECT_FALSE(fires(gradient_underflow(), with_facts(training(20), half)));
  EXPECT_FALSE(fires(gradient_underflow(), with_facts(training(20, underflow(0.49, 1e-6)), half)));
  EXPECT_FALSE(fires(gradient_underflow(), with_facts(training(20, underflow(0.7, 8e-3)), half))) << "sparse inputs";
  EXPECT_FALSE(fires(gradient_underflow(), with_facts(training(4, underflow(0.7, 1e-6)), half)));
  const Change dead = [&](DraftStep& step) {
    underflow(0.7, 1e-6)(step);
    step.reading.activations[1].dead = 0.6;
  };
  EXPECT_FALSE(fires(gradient_underflow(), with_facts(training(20, dead), half)));
}

TEST(AccumulatingGradients, GrowInALine) {
  const auto summed = [](double cosine, double growth) {
    return [=](DraftStep& step) {
      step.info.grad_norm = 0.8 * (1 + growth * static_cast<double>(step.info.step));
      for (const std::size_t i : kWeights) {
        step.reading.parameters[i].grad_cosine = cosine;
      }
    };
  };
  EXPECT_EQ(layers_found(accumulating_gradients(), training(70, summed(0.99, 1))), Layers{""});
  EXPECT_FALSE(fires(accumulating_gradients(), training(70)));
  EXPECT_FALSE(fires(accumulating_gradients(), training(70, summed(0.96, 1)))) << "not alike enough";
  EXPECT_FALSE(fires(accumulating_gradients(), training(70, summed(0.99, 0.01)))) << "hardly grows";
  EXPECT_FALSE(fires(accumulating_gradients(), training(59, summed(0.99, 1))));
  EXPECT_FALSE(fires(accumulating_gradients(),
                     with_facts(training(70, summed(0.99, 1)), [](RunFacts& facts) { facts.steps_per_epoch = 1; })))
      << "all the data in each step";
  const auto fresh = [](const std::vector<std::size_t>& parameters) {
    return [=](DraftStep& step) {
      for (const std::size_t i : parameters) {
        step.reading.parameters[i].grad_fresh = true;
      }
    };
  };
  EXPECT_FALSE(fires(accumulating_gradients(), training(70, both_of(summed(0.99, 1), fresh({0, 2})))))
      << "they were cleared, whatever they look like";
  EXPECT_TRUE(fires(accumulating_gradients(), training(70, both_of(summed(0.99, 1), fresh({0, 1, 3})))))
      << "one of three weights: an optimizer of its own";
}

TEST(AccumulatingGradients, ShowFromTheFirstStep) {
  const auto first_ten = [](double cosine, double power) {
    return training(10, [=](DraftStep& step) {
      step.info.grad_norm = 0.5 * std::pow(static_cast<double>(step.info.step), power);
      for (const std::size_t i : kWeights) {
        step.reading.parameters[i].grad_cosine = cosine;
      }
    });
  };
  EXPECT_TRUE(fires(accumulating_gradients(), first_ten(0.95, 1)));
  EXPECT_FALSE(fires(accumulating_gradients(), first_ten(0.85, 1)));
  EXPECT_FALSE(fires(accumulating_gradients(), first_ten(0.95, 0.6)));
}

TEST(FrozenAsInitialized, WantsAFrozenWeightThatNothingHasTrained) {
  const auto frozen = [](bool as_initialized, std::int64_t rows) {
    return with_facts(training(1),
                      [=](RunFacts& facts) { facts.parameters[2] = {"2.weight", {rows, 16}, false, as_initialized}; });
  };
  EXPECT_EQ(layers_found(frozen_as_initialized(), frozen(true, 16)), Layers{"2.weight"});
  EXPECT_FALSE(fires(frozen_as_initialized(), frozen(false, 16))) << "pretrained";
  EXPECT_FALSE(fires(frozen_as_initialized(), frozen(true, 15))) << "too few elements to tell";
  EXPECT_FALSE(fires(frozen_as_initialized(), training(1)));
}

TEST(AccumulatingGradients, AreNoExplosion) {
  const Change exploding = [](DraftStep& step) {
    step.info.grad_norm = std::exp(0.1 * static_cast<double>(step.info.step));
    for (const std::size_t i : kWeights) {
      step.reading.parameters[i].grad_cosine = 0.99;
    }
  };
  EXPECT_FALSE(fires(accumulating_gradients(), training(80, exploding)));
}

TEST(BatchTooSmall, ByTheNoiseScale) {
  const auto noisy = [](double scale, std::int64_t samples) {
    return [=](DraftStep& step) {
      step.info.samples = samples;
      step.reading.noise_scale = step.info.step % 20 == 0 ? scale : kNotMeasured;
    };
  };
  EXPECT_TRUE(fires(batch_too_small(), training(100, noisy(170, 8))));
  EXPECT_FALSE(fires(batch_too_small(), training(100)));
  EXPECT_FALSE(fires(batch_too_small(), training(100, noisy(79, 4))));
  EXPECT_FALSE(fires(batch_too_small(), training(99, noisy(100, 4)))) << "four values";
  EXPECT_FALSE(fires(batch_too_small(), training(100, noisy(1e5, 9)))) << "usual late in a healthy training";
}

TEST(GradientRules, AreSilentWhereNothingWasRead) {
  History bare;
  for (std::int64_t i = 1; i <= 350; ++i) {
    StepInfo info;
    info.step = i;
    bare.add({info, std::make_shared<const StepReading>()});
  }
  for (const Rule& rule :
       {nonfinite_gradient(), vanishing_flow(), exploding_flow(), exploding_gradient(), gradient_imbalance(),
        missing_gradient(), frozen_layer(), untrained_parameters(), gradient_underflow(), accumulating_gradients(),
        always_clipped(), never_clipped(), batch_too_small()}) {
    EXPECT_FALSE(fires(rule, History{})) << rule.name;
    EXPECT_FALSE(fires(rule, bare)) << rule.name;
    bare.facts = training(1).facts;
    EXPECT_FALSE(fires(rule, bare)) << rule.name << ", with facts";
    for (const std::size_t steps : {1U, 2U, 9U, 55U, 199U, 399U, 800U}) {
      EXPECT_FALSE(fires(rule, training(steps))) << rule.name << " after " << steps << " healthy steps";
    }
  }
}

}  // namespace
}  // namespace gradwise
