// Updates within the backward pass, against the same steps taken after it.
#include "gradwise/optim/backward_update.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/core/error.h"
#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/torch_optimizers.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

std::unique_ptr<FusedOptimizer> optimizer_of(const Model& model) {
  return std::unique_ptr<FusedOptimizer>(
      dynamic_cast<FusedOptimizer*>(make_optimizer({.lr = 0.01}, model.parameters).release()));
}

at::Tensor loss_of(const Model& model, const Batch& batch) { return squared_error(model.forward(batch), batch.target); }

TEST(BackwardUpdate, HasTheBitsOfAnUpdateAfterwards) {
  const Model during = toy_model();
  const Model after = toy_model();
  const auto optimizer = optimizer_of(during);
  AutogradOptimizerOptions options;
  options.clip.method = "none";
  AutogradOptimizer reference(after, OptimizerOptions{.lr = 0.01}, options);
  BackwardUpdate in_backward(*optimizer, during.parameters, {.clip = BackwardClip::none});
  for (unsigned int step = 0; step < 5; ++step) {
    const Batch batch = toy_batch(8, 100 + step);
    loss_of(during, batch).backward();
    const StepInfo done = in_backward.finish_step();
    const StepInfo expected = reference.step(squared_error, batch.input, batch.target);
    EXPECT_NEAR(done.grad_norm, expected.grad_norm, 1e-6);
    EXPECT_NEAR(done.update_norm, expected.update_norm, 1e-9);
    EXPECT_EQ(done.step, expected.step);
  }
  for (std::size_t i = 0; i < during.parameters.size(); ++i) {
    EXPECT_TRUE(during.parameters.tensors[i].equal(after.parameters.tensors[i]));
    EXPECT_FALSE(during.parameters.tensors[i].grad().defined());
  }
}

TEST(BackwardUpdate, ClipsByTheNormsBefore) {
  const Model model = toy_model();
  OptimizerOptions sgd;
  sgd.name = "sgd";
  sgd.lr = 1e-9;
  sgd.weight_decay = 0;
  const auto made = make_optimizer(sgd, model.parameters);
  BackwardUpdate in_backward(dynamic_cast<FusedOptimizer&>(*made), model.parameters,
                             {.max_norm = 1e-3, .norm_decay = 0.5});
  const Batch batch = toy_batch(8);
  loss_of(model, batch).backward();
  const StepInfo first = in_backward.finish_step();  // each tensor by itself: up to 1e-3 each
  EXPECT_TRUE(first.clipped);
  EXPECT_LE(first.grad_norm_clipped, 1e-3 * std::sqrt(4.0) * 1.001);
  loss_of(model, batch).backward();
  const StepInfo second = in_backward.finish_step();  // by the first step's global norm, which is this one's too
  EXPECT_NEAR(second.grad_norm_clipped, 1e-3, 1e-6);
}

TEST(BackwardUpdate, LeavesAParameterWhoseGradientIsNotFinite) {
  const Model model = toy_model();
  const auto optimizer = optimizer_of(model);
  BackwardUpdate in_backward(*optimizer, model.parameters);
  const std::vector<at::Tensor> before = copies_of(model.parameters.tensors);
  Batch batch = toy_batch(8);
  const at::Tensor bad = batch.input.clone();
  bad[0][0] = NAN;
  // tanh'(NaN) spoils the first layer and the head's weight; the head's bias sees the output's gradient, NaN as well.
  model.forward({bad, batch.target, {}}).sub(batch.target).square().mean().backward();
  const StepInfo done = in_backward.finish_step();
  EXPECT_EQ(done.issues.size(), 4U);
  EXPECT_TRUE(done.skipped);
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(model.parameters.tensors[i].equal(before[i]));
  }
  EXPECT_ERROR_WITH("finish_step was called before any backward pass", in_backward.finish_step());
}

TEST(BackwardUpdate, HoldsTheGradientsOfOneParameter) {
  constexpr std::int64_t kWidth = 256;
  constexpr int kLayers = 12;
  const auto peak = [](bool in_backward) {
    Model model;
    for (int i = 0; i < kLayers; ++i) {
      model.parameters.add(std::to_string(i), random_tensor({kWidth, kWidth}, 1).mul(0.05).requires_grad_());
    }
    const auto made = make_optimizer({}, model.parameters);
    auto& optimizer = dynamic_cast<FusedOptimizer&>(*made);
    const auto run = [&] {
      at::Tensor x = random_tensor({4, kWidth}, 2);
      for (const at::Tensor& weight : model.parameters.tensors) {
        x = x.matmul(weight).tanh();
      }
      x.square().sum().backward();
    };
    std::unique_ptr<BackwardUpdate> update;
    if (in_backward) {
      update = std::make_unique<BackwardUpdate>(optimizer, model.parameters);
    }
    run();  // the state's memory is taken in the first step
    const PeakMemory memory;
    for (const at::Tensor& weight : model.parameters.tensors) {
      at::Tensor(weight).mutable_grad().reset();
    }
    run();
    return memory.peak();
  };
  const std::int64_t gradient = kWidth * kWidth * 4;
  EXPECT_LT(peak(true), 4 * gradient);
}

TEST(FusedOptimizer, TellsGraphsThatTheirWeightsHaveMoved) {
  const Model model = toy_model();
  const auto optimizer = optimizer_of(model);
  const Batch batch = toy_batch(8);
  const at::Tensor kept = loss_of(model, batch);
  loss_of(model, batch).backward();
  optimizer->step();
  EXPECT_THROW(kept.backward(), c10::Error) << "the head's weight is saved in the graph";
}

}  // namespace
}  // namespace gradwise
