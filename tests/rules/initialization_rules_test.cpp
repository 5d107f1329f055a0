// The rules on weights as they begin.
#include <algorithm>

#include "tests/rules/histories.h"

namespace gradwise {
namespace {

using Layers = std::vector<std::string>;

Change begins(std::size_t weight, const std::function<void(ParameterReading&)>& change) {
  return [=](DraftStep& step) {
    if (step.info.step == 1) {
      change(step.reading.parameters[weight]);
    }
  };
}

TEST(ConstantInitialization, OfOneNumber) {
  const auto constant = [](double variance) {
    return begins(2, [variance](ParameterReading& p) {
      p.weight_mean = 0.1;
      p.weight_variance = variance;
    });
  };
  EXPECT_EQ(layers_found(constant_initialization(), training(1, constant(0))), Layers{"2.weight"});
  EXPECT_EQ(layers_found(constant_initialization(), training(30, constant(3e-8))), Layers{"2.weight"})
      << "all of its variance is the first update's, 9e-6 / 256";
  EXPECT_FALSE(fires(constant_initialization(), training(30)));
  EXPECT_FALSE(fires(constant_initialization(), training(30, constant(4e-8))));
  const History whole = training(30, constant(0));
  History later;
  later.facts = whole.facts;
  std::for_each(whole.steps().begin() + 3, whole.steps().end(), [&later](const StepRecord& step) { later.add(step); });
  EXPECT_FALSE(fires(constant_initialization(), later)) << "the beginning was not read";
  History single = training(30, constant(0));
  single.facts.parameters[2].shape = {1, 256};
  EXPECT_FALSE(fires(constant_initialization(), single)) << "one unit";
}

TEST(ConstantInitialization, OfZeros) {
  const auto zero = [](ParameterReading& p) {
    p.update_ratio = kNotMeasured;
    p.weight_norm = p.update_norm = 1e-3;
    p.weight_variance = 1e-8;
    p.weight_mean = 0;
  };
  EXPECT_FALSE(fires(constant_initialization(), training(30, begins(4, zero)))) << "a last layer may";
  EXPECT_FALSE(fires(constant_initialization(), training(30, both_of(begins(2, zero), begins(4, zero)))))
      << "and those of LoRA";
  const Change all = both_of(begins(0, zero), both_of(begins(2, zero), begins(4, zero)));
  EXPECT_EQ(layers_found(constant_initialization(), training(1, all)), (Layers{"0.weight", "2.weight", "4.weight"}));
  const auto without_gradient = [&zero](std::int64_t steps) {
    return both_of(begins(2, zero), [steps](DraftStep& step) {
      step.reading.parameters[2].grad_norm *= step.info.step <= steps ? 0 : 1;
    });
  };
  EXPECT_EQ(layers_found(constant_initialization(), training(30, without_gradient(5))), Layers{"2.weight"});
  EXPECT_FALSE(fires(constant_initialization(), training(30, without_gradient(4))));
}

TEST(WideInitialization, OfOneLayer) {
  const auto variance = [](double v) { return begins(2, [v](ParameterReading& p) { p.weight_variance = v; }); };
  EXPECT_EQ(layers_found(wide_initialization(), training(10, variance(0.7))), Layers{"2.weight"});
  EXPECT_FALSE(fires(wide_initialization(), training(10)));
  EXPECT_FALSE(fires(wide_initialization(), training(10, variance(0.6))));
  EXPECT_FALSE(fires(wide_initialization(), training(9, variance(0.7))));
  const Change normed =
      both_of(variance(0.7), [](DraftStep& step) { step.reading.batch_norms = {{"bn", true, 0.1, 1}}; });
  EXPECT_FALSE(fires(wide_initialization(), training(10, normed)));
  const Change by_update = begins(2, [](ParameterReading& p) {
    p.weight_variance = 4;
    p.update_norm = 32;
    p.update_ratio = 8;  // 4 before, of 256 elements: a variance of 1 / 16
  });
  EXPECT_FALSE(fires(wide_initialization(), training(10, by_update))) << "that is the learning rate's doing";
}

TEST(WideInitialization, PassesOverEmbeddings) {
  const auto wide = begins(0, [](ParameterReading& p) { p.weight_variance = 8; });
  History history = training(10, wide);
  EXPECT_TRUE(fires(wide_initialization(), history));
  history.facts.parameters[0].name = "tok_emb.weight";
  EXPECT_FALSE(fires(wide_initialization(), history));
  EXPECT_FALSE(fires(wide_initialization(), training(10, both_of(wide, [](DraftStep& s) { s.batch.tokens = true; }))))
      << "by its place";
}

TEST(NarrowInitialization, OfOneLayer) {
  const auto variance = [](std::size_t weight, double v) {
    return begins(weight, [v](ParameterReading& p) {
      p.weight_variance = v;
      p.weight_mean = 0;
    });
  };
  EXPECT_EQ(layers_found(narrow_initialization(), training(10, variance(2, 5e-5))), Layers{"2.weight"});
  EXPECT_FALSE(fires(narrow_initialization(), training(10)));
  EXPECT_FALSE(fires(narrow_initialization(), training(10, variance(2, 7e-5))));
  EXPECT_FALSE(fires(narrow_initialization(), training(10, variance(2, 0)))) << "that is a constant";
  EXPECT_FALSE(fires(narrow_initialization(), training(10, variance(4, 5e-5)))) << "a last layer may";
  EXPECT_FALSE(fires(narrow_initialization(), training(9, variance(2, 5e-5))));
}

TEST(NarrowInitialization, AsItWasBeforeTheFirstUpdate) {
  const auto updated = [](double norm_before) {
    return begins(2, [norm_before](ParameterReading& p) {
      p.weight_mean = 0;
      p.weight_variance = 1e-4;
      p.update_norm = 0.16;
      p.update_ratio = norm_before > 0 ? 0.16 / norm_before : kNotMeasured;
    });
  };
  EXPECT_TRUE(fires(narrow_initialization(), training(10, updated(0.12))));
  EXPECT_FALSE(fires(narrow_initialization(), training(10, updated(0.14))));
  EXPECT_FALSE(fires(narrow_initialization(), training(10, updated(0)))) << "began at 0";
}

}  // namespace
}  // namespace gradwise
