#include "gradwise/optim/ema.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

// The comparison with the package torch_ema stands in test_ema_and_scaler.py; here is what it does not reach.

EmaOptions with_decay(double decay, bool warmup = false, bool bias_correction = false) {
  EmaOptions options;
  options.decay = decay;
  options.warmup = warmup;
  options.bias_correction = bias_correction;
  return options;
}

/// One parameter, a frozen one, a floating-point buffer and a counter.
struct Weights {
  at::Tensor weight = tensor_of<double>({1, 2}, {2}).requires_grad_();
  at::Tensor frozen = tensor_of<double>({7}, {1});
  at::Tensor mean = tensor_of<double>({10}, {1});
  at::Tensor counter = tensor_of<std::int64_t>({0}, {});

  [[nodiscard]] NamedParameters parameters() const { return {{"weight", "frozen"}, {weight, frozen}}; }
  [[nodiscard]] NamedParameters buffers() const { return {{"mean", "counter"}, {mean, counter}}; }
  void set(double value) const {
    const at::NoGradGuard no_grad;
    weight.fill_(value);
    mean.fill_(10 * value);
    counter.add_(1);
  }
};

double first_of(const at::Tensor& tensor) { return tensor.detach().reshape({-1})[0].item<double>(); }

at::Tensor average_of(const ExponentialMovingAverage& ema, const char* name) {
  const NamedParameters averages = ema.averages();
  return averages.tensors[averages.index(name)];
}

TEST(Ema, FollowsTheRecurrence) {
  for (const bool warmup : {false, true}) {
    const Weights weights;
    ExponentialMovingAverage ema(weights.parameters(), with_decay(0.9, warmup), weights.buffers());
    double weight = 1;
    double mean = 10;
    for (int n = 1; n <= 200; ++n) {
      const double value = std::sin(n);
      weights.set(value);
      ema.update();
      const double decay = warmup ? std::min(0.9, (1.0 + n) / (10.0 + n)) : 0.9;
      weight = decay * weight + (1 - decay) * value;
      mean = decay * mean + (1 - decay) * 10 * value;
      EXPECT_NEAR(first_of(average_of(ema, "weight")), weight, 1e-12);
      EXPECT_NEAR(first_of(average_of(ema, "mean")), mean, 1e-12);
      EXPECT_EQ(average_of(ema, "counter").item<std::int64_t>(), n) << "counters are copied";
    }
    EXPECT_EQ(ema.num_updates(), 200);
  }
}

// Every third call moves the average, by a warm-up that counts these moves.
TEST(Ema, WithAPeriodFollowsTheRecurrenceAtEachOfItsSteps) {
  for (const bool warmup : {false, true}) {
    const Weights weights;
    EmaOptions options = with_decay(0.9, warmup);
    options.every = 3;
    ExponentialMovingAverage ema(weights.parameters(), options, weights.buffers());
    ExponentialMovingAverage resumed(weights.parameters(), with_decay(0.5), weights.buffers());
    double weight = 1;
    for (int call = 1; call <= 100; ++call) {
      const double value = std::sin(call);
      weights.set(value);
      ema.update();
      if (call % 3 == 0) {
        const double n = call / 3;
        const double decay = warmup ? std::min(0.9, (1.0 + n) / (10.0 + n)) : 0.9;
        weight = decay * weight + (1 - decay) * value;
      }
      EXPECT_NEAR(first_of(average_of(ema, "weight")), weight, 1e-12);
      EXPECT_EQ(average_of(ema, "counter").item<std::int64_t>(), call / 3 * 3);
      if (call == 50) {
        resumed.load_state(ema.state());
      } else if (call > 50) {
        resumed.update();
        EXPECT_EQ(first_of(average_of(resumed, "weight")), first_of(average_of(ema, "weight"))) << call;
      }
    }
    EXPECT_EQ(ema.num_updates(), 33);
  }
}

TEST(Ema, AveragesWhatIsTrainedAndTheBuffersAsked) {
  const Weights weights;
  EXPECT_EQ(ExponentialMovingAverage(weights.parameters()).averages().names, std::vector<std::string>{"weight"});
  const ExponentialMovingAverage with_buffers(weights.parameters(), {}, weights.buffers());
  EXPECT_EQ(with_buffers.averages().names, (std::vector<std::string>{"weight", "mean", "counter"}));
}

// avg_t = (1 - d) Σ d^(t-i) x_i / (1 - d^t): a constant is its own average, whatever the start.
TEST(Ema, BiasCorrectionIsTheWeightedMeanInClosedForm) {
  const Weights weights;
  ExponentialMovingAverage ema(weights.parameters(), with_decay(0.8, false, true));
  EXPECT_ERROR_WITH("needs at least one update", ema.averages());
  std::vector<double> values;
  for (int t = 1; t <= 30; ++t) {
    values.push_back(std::cos(t));
    weights.set(values.back());
    ema.update();
    double sum = 0;
    double total = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double share = std::pow(0.8, static_cast<double>(values.size() - 1 - i));
      sum += share * values[i];
      total += share;
    }
    EXPECT_NEAR(first_of(average_of(ema, "weight")), sum / total, 1e-12);
  }
}

TEST(Ema, BiasCorrectionOfAConstantIsTheConstantWithWarmUpToo) {
  const Weights weights;
  ExponentialMovingAverage ema(weights.parameters(), with_decay(0.99, true, true));
  weights.set(3);
  for (int t = 1; t <= 20; ++t) {
    ema.update();
    EXPECT_NEAR(first_of(average_of(ema, "weight")), 3, 1e-12);
  }
}

TEST(Ema, CopyToWritesTheAveragesAndRestoreTheWeights) {
  const Weights weights;
  ExponentialMovingAverage ema(weights.parameters(), with_decay(0.5), weights.buffers());
  weights.set(5);
  ema.update();
  weights.set(100);  // the counter is 2 now, its average 1
  ema.store();
  ema.copy_to();
  EXPECT_EQ(first_of(weights.weight), 3);
  EXPECT_EQ(first_of(weights.mean), 30);
  EXPECT_EQ(weights.counter.item<std::int64_t>(), 1);
  EXPECT_EQ(first_of(weights.frozen), 7);
  ema.restore();
  EXPECT_EQ(first_of(weights.weight), 100);
  EXPECT_EQ(first_of(weights.mean), 1000);
  EXPECT_EQ(weights.counter.item<std::int64_t>(), 2);
  EXPECT_ERROR_WITH("restore was called without store", ema.restore());
}

TEST(Ema, TheScopeGivesTheWeightsBackWhenAnExceptionPasses) {
  const Weights weights;
  ExponentialMovingAverage ema(weights.parameters(), with_decay(0.5), weights.buffers());
  weights.set(5);
  ema.update();
  weights.set(0.1);
  const std::vector<at::Tensor> live = {weights.weight, weights.mean, weights.counter};
  const std::vector<at::Tensor> before = copies_of(live);
  try {
    const auto averaged = ema.average_parameters();
    EXPECT_EQ(first_of(weights.weight), 3);
    throw std::runtime_error("in the middle of a validation");
  } catch (const std::runtime_error&) {
  }
  expect_same_bits(live, before);
}

TEST(Ema, TheScopeLeavesAStoreOfTheCallersAlone) {
  const Weights weights;
  ExponentialMovingAverage ema(weights.parameters(), with_decay(0.5));
  weights.set(5);
  ema.store();
  ema.update();
  weights.set(7);
  {
    const auto averaged = ema.average_parameters();
    EXPECT_EQ(first_of(weights.weight), 3);
  }
  EXPECT_EQ(first_of(weights.weight), 7);
  ema.restore();
  EXPECT_EQ(first_of(weights.weight), 5);
}

TEST(Ema, ParametersStillTakeGradientsAfterAScope) {
  const Weights weights;
  ExponentialMovingAverage ema(weights.parameters(), with_decay(0.5));
  ema.update();
  {
    const auto averaged = ema.average_parameters();
  }
  weights.weight.square().sum().backward();
  EXPECT_TRUE(weights.weight.grad().equal(tensor_of<double>({2, 4}, {2})));
}

TEST(Ema, AveragesTakeNoPartInAutograd) {
  const Weights weights;
  ExponentialMovingAverage ema(weights.parameters());
  ema.update();
  EXPECT_FALSE(ema.averages().tensors[0].requires_grad());
  EXPECT_FALSE(average_of(ema, "weight").is_same(weights.weight));
}

TEST(Ema, MovesToAnotherType) {
  const Weights weights;
  ExponentialMovingAverage ema(weights.parameters(), with_decay(0.5), weights.buffers());
  weights.set(5);
  ema.update();
  ema.to(at::kFloat);
  EXPECT_EQ(average_of(ema, "weight").scalar_type(), at::kFloat);
  EXPECT_EQ(average_of(ema, "counter").scalar_type(), at::kLong) << "counters keep their type";
  ema.copy_to();
  EXPECT_EQ(weights.weight.scalar_type(), at::kDouble) << "the model keeps its type";
  EXPECT_EQ(first_of(weights.weight), 3);
}

// Half-precision weights with an average in float32, which keeps what half precision would round away.
TEST(Ema, UpdatesInItsOwnType) {
  const at::Tensor weight = tensor_of<float>({1, 2}, {2}).to(at::kBFloat16).requires_grad_();
  ExponentialMovingAverage ema(NamedParameters{{"weight"}, {weight}}, with_decay(0.999));
  ema.to(at::kFloat);
  write_into({weight}, {tensor_of<float>({2, 3}, {2})});
  ema.update();
  EXPECT_EQ(average_of(ema, "weight").scalar_type(), at::kFloat);
  EXPECT_NEAR(first_of(average_of(ema, "weight")), 1.001, 1e-6);
  {
    const auto averaged = ema.average_parameters();
  }
  EXPECT_EQ(weight.scalar_type(), at::kBFloat16);
  EXPECT_EQ(first_of(weight), 2);
}

TEST(Ema, StateContinuesBitIdentically) {
  for (const bool bias_correction : {false, true}) {
    const Weights weights;
    ExponentialMovingAverage ema(weights.parameters(), with_decay(0.97, true, bias_correction), weights.buffers());
    for (int i = 0; i < 15; ++i) {
      weights.set(std::sin(i));
      ema.update();
    }
    State saved = ema.state();
    saved.values = nlohmann::json::parse(saved.values.dump());
    for (auto& [name, tensor] : saved.tensors) {
      tensor = tensor.clone();
    }
    ExponentialMovingAverage continued(weights.parameters(), with_decay(0.5), weights.buffers());
    continued.load_state(saved);
    for (int i = 15; i < 30; ++i) {
      weights.set(std::sin(i));
      ema.update();
      continued.update();
    }
    EXPECT_EQ(continued.num_updates(), 30);
    EXPECT_EQ(continued.decay(), 0.97);
    expect_same_bits(continued.averages().tensors, ema.averages().tensors);
  }
}

TEST(Ema, RefusesAStateThatDoesNotFit) {
  const Weights weights;
  ExponentialMovingAverage ema(weights.parameters());
  State state = ema.state();
  state.tensors["weight"] = tensor_of<double>({1, 2, 3}, {3});
  EXPECT_ERROR_WITH("\"weight\" has shape [3], the model's [2]", ema.load_state(state));
  state.tensors.erase("weight");
  EXPECT_ERROR_WITH("the saved average has no \"weight\"", ema.load_state(state));
}

TEST(Ema, RefusesBadOptionsAndNothingToAverage) {
  const Weights weights;
  EmaOptions never;
  never.every = 0;
  EXPECT_ERROR_WITH("[ema] every is 0, allowed: >= 1", ExponentialMovingAverage(weights.parameters(), never));
  EXPECT_ERROR_WITH("[ema] decay is 1.5, allowed: from 0 to 1",
                    ExponentialMovingAverage(weights.parameters(), with_decay(1.5)));
  EXPECT_ERROR_WITH("none of the 1 parameters asks for a gradient",
                    ExponentialMovingAverage(NamedParameters{{"frozen"}, {weights.frozen}}));
}

}  // namespace
}  // namespace gradwise
