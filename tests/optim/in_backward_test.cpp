// AutogradOptimizer's option in_backward, against the same optimizer without it.
#include <gtest/gtest.h>

#include <cmath>

#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/optim/ema.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

AutogradOptimizerOptions in_backward(const std::string& method) {
  AutogradOptimizerOptions options;
  options.in_backward = true;
  options.clip.method = method;
  return options;
}

void expect_equal_weights(const Model& a, const Model& b) {
  for (std::size_t i = 0; i < a.parameters.size(); ++i) {
    EXPECT_TRUE(a.parameters.tensors[i].equal(b.parameters.tensors[i])) << a.parameters.names[i];
  }
}

TEST(InBackward, HasTheWeightsAndAveragesOfUpdatesAfterwards) {
  const Model during = toy_model();
  const Model after = toy_model();
  AutogradOptimizerOptions plain;
  plain.clip.method = "none";
  AutogradOptimizer one(during, {.lr = 0.01}, in_backward("none"));
  AutogradOptimizer other(after, {.lr = 0.01}, plain);
  ExponentialMovingAverage one_average(during.parameters, EmaOptions{.decay = 0.9});
  ExponentialMovingAverage other_average(after.parameters, EmaOptions{.decay = 0.9});
  one.set_average(&one_average);
  other.set_average(&other_average);
  for (unsigned int step = 0; step < 5; ++step) {
    const Batch batch = toy_batch(8, 100 + step);
    const StepInfo done = one.step(squared_error, batch.input, batch.target);
    const StepInfo expected = other.step(squared_error, batch.input, batch.target);
    EXPECT_EQ(done.loss, expected.loss);
    EXPECT_EQ(done.step, expected.step);
    EXPECT_NEAR(done.grad_norm, expected.grad_norm, 1e-6);
    EXPECT_NEAR(done.update_norm, expected.update_norm, 1e-9);
  }
  expect_equal_weights(during, after);
  for (std::size_t i = 0; i < one_average.averages().size(); ++i) {
    EXPECT_TRUE(one_average.averages().tensors[i].allclose(other_average.averages().tensors[i], 1e-6, 1e-7));
  }
}

TEST(InBackward, GoesOnFromItsState) {
  const Model whole = toy_model();
  const Model halves = toy_model();
  AutogradOptimizerOptions options = in_backward("norm");
  options.clip.max_norm = 0.05;
  AutogradOptimizer reference(whole, {.lr = 0.01}, options);
  State saved;
  {
    AutogradOptimizer first(halves, {.lr = 0.01}, options);
    for (unsigned int step = 0; step < 3; ++step) {
      const Batch batch = toy_batch(8, 100 + step);
      (void)reference.step(squared_error, batch.input, batch.target);
      EXPECT_TRUE(first.step(squared_error, batch.input, batch.target).clipped);
    }
    saved = first.state();
    for (auto& [name, tensor] : saved.tensors) {
      tensor = tensor.clone();
    }
  }
  AutogradOptimizer second(halves, {.lr = 0.01}, options);
  second.load_state(saved);
  for (unsigned int step = 3; step < 6; ++step) {
    const Batch batch = toy_batch(8, 100 + step);
    (void)reference.step(squared_error, batch.input, batch.target);
    (void)second.step(squared_error, batch.input, batch.target);
  }
  expect_equal_weights(whole, halves);
}

TEST(InBackward, SkipsWhatIsNotFinite) {
  const Model model = toy_model();
  AutogradOptimizer optimizer(model, {.lr = 0.01}, in_backward("norm"));
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  Batch batch = toy_batch(8);
  batch.input[0][0] = NAN;
  const StepInfo done = optimizer.step(squared_error, batch.input, batch.target);
  EXPECT_TRUE(done.skipped);
  EXPECT_EQ(done.skipped_in_all, 1);
  EXPECT_EQ(done.issues.size(), 4U);
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(model.parameters.tensors[i].equal(before[i]));
  }
}

TEST(InBackward, RefusesWhatItCanNotDo) {
  const auto make = [](OptimizerOptions optimizer, const AutogradOptimizerOptions& options) {
    AutogradOptimizer made(toy_model(), optimizer, options);
  };
  OptimizerOptions torchs;
  torchs.implementation = "torch";
  EXPECT_ERROR_WITH("needs an optimizer of Gradwise's own", make(torchs, in_backward("norm")));
  EXPECT_ERROR_WITH("clip.method is \"agc\", allowed with in_backward: norm, none",
                    make(OptimizerOptions{}, in_backward("agc")));
  AutogradOptimizerOptions half = in_backward("norm");
  half.precision = "float16";
  EXPECT_ERROR_WITH("does not go with loss scaling", make(OptimizerOptions{}, half));
  AutogradOptimizerOptions raise = in_backward("norm");
  raise.on_nonfinite = "raise";
  EXPECT_ERROR_WITH("allowed with in_backward: skip", make(OptimizerOptions{}, raise));

  AutogradOptimizer optimizer(toy_model(), OptimizerOptions{}, in_backward("norm"));
  const Batch batch = toy_batch(4);
  EXPECT_ERROR_WITH("windows of one micro-batch", optimizer.accumulate(squared_error, batch, 2));
  EXPECT_ERROR_WITH("can't be clipped in its own way",
                    optimizer.step(squared_error, batch.input, batch.target, ClipRequest{}));
  optimizer.accumulate(squared_error, batch);
  EXPECT_ERROR_WITH("comes too late", optimizer.abandon_step());
}

}  // namespace
}  // namespace gradwise
