// Parameters that ask for a gradient in mid-run, against LibTorch's optimizer over all of them.
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <vector>

#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/optim/ema.h"
#include "gradwise/optim/torch_optimizers.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

constexpr std::size_t kUnfrozen = 0;

Model frozen_below() {
  Model model = toy_model(1, at::kDouble);
  model.parameters.tensors[kUnfrozen].requires_grad_(false);
  return model;
}

AutogradOptimizerOptions without_clipping(bool in_backward) {
  AutogradOptimizerOptions options;
  options.clip.method = "none";
  options.in_backward = in_backward;
  return options;
}

// Six steps, the first layer's weight trained from the fourth on.
void train(AutogradOptimizer& optimizer) {
  for (unsigned int step = 0; step < 6; ++step) {
    if (step == 3) {
      optimizer.model().parameters.tensors[kUnfrozen].requires_grad_();
    }
    const Batch batch = toy_batch(8, 100 + step, at::kDouble);
    (void)optimizer.step(squared_error, batch.input, batch.target);
  }
}

void train_by_hand(torch::optim::Optimizer& optimizer, const Model& model) {
  for (unsigned int step = 0; step < 6; ++step) {
    if (step == 3) {
      model.parameters.tensors[kUnfrozen].requires_grad_();
    }
    const Batch batch = toy_batch(8, 100 + step, at::kDouble);
    optimizer.zero_grad();
    squared_error(model.forward(batch), batch.target).backward();
    optimizer.step();
  }
}

TEST(Unfreezing, TrainsFromThenOn) {
  const OptimizerOptions torchs{.name = "adamw", .implementation = "torch", .lr = 0.01};
  const Model by_hand = frozen_below();
  train_by_hand(*make_optimizer(torchs, by_hand.parameters), by_hand);
  for (const bool in_backward : {false, true}) {
    const Model model = frozen_below();
    const at::Tensor before = model.parameters.tensors[kUnfrozen].detach().clone();
    AutogradOptimizer optimizer(model, {.name = "adamw", .lr = 0.01}, without_clipping(in_backward));
    train(optimizer);
    EXPECT_FALSE(model.parameters.tensors[kUnfrozen].equal(before));
    for (std::size_t i = 0; i < model.parameters.size(); ++i) {
      EXPECT_TRUE(model.parameters.tensors[i].allclose(by_hand.parameters.tensors[i], 1e-10, 1e-12))
          << model.parameters.names[i];
    }
    ASSERT_EQ(optimizer.weight_moments().size(), model.parameters.size());
    EXPECT_GT(optimizer.weight_moments()[kUnfrozen].update_squares, 0);
  }
}

TEST(Unfreezing, IsPartOfTheState) {
  const Model whole = frozen_below();
  AutogradOptimizer first(whole, {.name = "adamw", .lr = 0.01}, without_clipping(false));
  train(first);
  const Model copy = frozen_below();
  copy.parameters.tensors[kUnfrozen].requires_grad_();
  write_into(copy.parameters.tensors, whole.parameters.tensors);
  AutogradOptimizer second(copy, {.name = "adamw", .lr = 0.01}, without_clipping(false));
  second.load_state(first.state());
  const Batch batch = toy_batch(8, 900, at::kDouble);
  (void)first.step(squared_error, batch.input, batch.target);
  (void)second.step(squared_error, batch.input, batch.target);
  expect_same_bits(copy.parameters.tensors, whole.parameters.tensors);
}

// Adapters of frozen weights often share them; moments are for what trains.
TEST(Unfreezing, FrozenParametersNeedNoMemoryOfTheirOwn) {
  Model model = toy_model();
  const at::Tensor shared = at::zeros({10});
  model.parameters.add("one", shared);
  model.parameters.add("other", shared.slice(0, 2, 8));
  AutogradOptimizer optimizer(model);
  const Batch batch = toy_batch(8);
  (void)optimizer.step(squared_error, batch.input, batch.target);
  EXPECT_EQ(optimizer.torch_optimizer().state().size(), 4U);
}

// Every second step moves the average that rides in the pass.
TEST(AveragePeriod, HoldsInThePass) {
  const Model model = toy_model(1, at::kDouble);
  ExponentialMovingAverage average(model.parameters, EmaOptions{.decay = 0.9, .every = 2});
  AutogradOptimizer optimizer(model, {.name = "adamw", .lr = 0.01});
  optimizer.set_average(&average);
  std::vector<at::Tensor> expected = copies_of(model.parameters.tensors);
  for (unsigned int step = 1; step <= 7; ++step) {
    const Batch batch = toy_batch(8, step, at::kDouble);
    (void)optimizer.step(squared_error, batch.input, batch.target);
    if (step % 2 == 0) {
      const double n = step / 2;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        expected[i].lerp_(model.parameters.tensors[i].detach(), 1 - std::min(0.9, (1 + n) / (10 + n)));
      }
    }
  }
  EXPECT_EQ(average.num_updates(), 3);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_TRUE(average.averages().tensors[i].allclose(expected[i], 1e-12, 1e-12));
  }
}

}  // namespace
}  // namespace gradwise
