#include <gtest/gtest.h>
#include <torch/optim/optimizer.h>

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/optim/unused_options.h"
#include "tests/data/error_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

TEST(UnusedOptions, NamesWhatTheOptimizerDoesNotHave) {
  OptimizerOptions options;
  options.beta1 = 0.8;
  options.momentum = 0.9;
  options.nesterov = true;
  EXPECT_EQ(unused_options(options), (std::vector<std::string>{"momentum", "nesterov"}));
  options.name = "sgd";
  EXPECT_EQ(unused_options(options), std::vector<std::string>{"beta1"});
}

TEST(StepErrors, ALossThatIsNoScalar) {
  const LossFunction each = [](const at::Tensor& y, const at::Tensor& t) { return y.sub(t).square(); };
  const Batch batch = toy_batch(5);
  AutogradOptimizer optimizer(toy_model());
  EXPECT_ERROR_WITH("the loss has shape [5, 1] Float, allowed: a scalar",
                    optimizer.step(each, batch.input, batch.target));
}

TEST(StepErrors, AnOutputThatDoesNotFitTheLossShowsBothShapes) {
  const Batch batch = toy_batch(5);
  AutogradOptimizer optimizer(toy_model());
  const std::string message =
      error_of([&optimizer, &batch] { (void)optimizer.step(squared_error, batch.input, random_tensor({3, 2}, 1)); });
  for (const char* part : {"[loss]", "output [5, 1] Float", "target [3, 2] Float"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST(StepErrors, AnInputThatDoesNotFitTheModelShowsItsShape) {
  AutogradOptimizer optimizer(toy_model());
  EXPECT_ERROR_WITH("[model] the forward pass fails for an input of shape [5, 3]",
                    optimizer.step(squared_error, random_tensor({5, 3}, 1), random_tensor({5, 1}, 2)));
}

TEST(StepErrors, ALossThatDependsOnNoParameter) {
  const LossFunction constant = [](const at::Tensor&, const at::Tensor& t) { return t.mean(); };
  const Batch batch = toy_batch(5);
  AutogradOptimizer optimizer(toy_model());
  EXPECT_ERROR_WITH("the loss does not depend on any parameter", optimizer.step(constant, batch.input, batch.target));
}

TEST(StepErrors, AnErrorInAWindowDropsTheWindow) {
  const Batch batch = toy_batch(5);
  const Model model = toy_model();
  AutogradOptimizer optimizer(model);
  optimizer.accumulate(squared_error, batch, 2);
  EXPECT_ERROR_WITH("do not fit the loss",
                    optimizer.accumulate(squared_error, {batch.input, random_tensor({3, 2}, 1), {}}, 2));
  optimizer.accumulate(squared_error, batch);
  EXPECT_ERROR_WITH("max_grad_norm is -1", optimizer.finish_step(ClipRequest{.max_grad_norm = -1}));
  (void)optimizer.step(squared_error, batch.input, batch.target);

  const Model twin = toy_model();
  AutogradOptimizer undisturbed(twin);
  (void)undisturbed.step(squared_error, batch.input, batch.target);
  expect_same_bits(model.parameters.tensors, twin.parameters.tensors);
}

TEST(StepErrors, AStepAfterAnErrorWorks) {
  const LossFunction each = [](const at::Tensor& y, const at::Tensor& t) { return y.sub(t).square(); };
  const Batch batch = toy_batch(5);
  const Model model = toy_model();
  const Model twin = toy_model();
  AutogradOptimizer optimizer(model);
  AutogradOptimizer undisturbed(twin);
  EXPECT_ERROR_WITH("the loss has shape", optimizer.step(each, batch.input, batch.target));
  EXPECT_EQ(optimizer.step(squared_error, batch.input, batch.target).samples, 5);
  (void)undisturbed.step(squared_error, batch.input, batch.target);
  expect_same_bits(model.parameters.tensors, twin.parameters.tensors);
}

TEST(MissingGradient, IsToldOnceByName) {
  Model model = toy_model();
  model.parameters.add("forgotten", random_tensor({3}, 5).requires_grad_());
  model.parameters.add("frozen", random_tensor({3}, 6));
  const at::Tensor before = model.parameters.tensors[4].detach().clone();
  const Batch batch = toy_batch(5);
  AutogradOptimizer optimizer(model);
  const StepInfo first = optimizer.step(squared_error, batch.input, batch.target);
  ASSERT_EQ(first.issues.size(), 1U);
  EXPECT_EQ(first.issues[0].rule, "no_gradient");
  EXPECT_EQ(first.issues[0].layer, "forgotten");
  EXPECT_EQ(first.issues[0].severity, Issue::Severity::warning);
  EXPECT_NE(first.issues[0].message.find("\"forgotten\""), std::string::npos);
  EXPECT_EQ(optimizer.parameters_without_gradient(), std::vector<std::string>{"forgotten"});
  EXPECT_TRUE(optimizer.step(squared_error, batch.input, batch.target).issues.empty());
  EXPECT_TRUE(same_bits(model.parameters.tensors[4], before)) << "no decay without a gradient, as in torch";
}

constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

struct BadOptions {
  const char* name;
  std::function<void(OptimizerOptions&, AutogradOptimizerOptions&)> change;
  const char* message;
};

class OptimizerErrors : public testing::TestWithParam<BadOptions> {};

TEST_P(OptimizerErrors, NameFieldValueAndWhatIsAllowed) {
  OptimizerOptions optimizer;
  AutogradOptimizerOptions step;
  GetParam().change(optimizer, step);
  EXPECT_ERROR_WITH(GetParam().message, AutogradOptimizer(toy_model(), optimizer, step));
}

INSTANTIATE_TEST_SUITE_P(
    All, OptimizerErrors,
    testing::Values(
        BadOptions{"name", [](OptimizerOptions& o, AutogradOptimizerOptions&) { o.name = "adamv"; },
                   "[optimizer] name is \"adamv\", allowed: adamw, adam, sgd, rmsprop, adagrad, lion, lbfgs"},
        BadOptions{"lr", [](OptimizerOptions& o, AutogradOptimizerOptions&) { o.lr = -1; },
                   "[optimizer] lr is -1, allowed: >= 0"},
        BadOptions{"nan", [](OptimizerOptions& o, AutogradOptimizerOptions&) { o.lr = kNotANumber; },
                   "[optimizer] lr is nan"},
        BadOptions{"beta", [](OptimizerOptions& o, AutogradOptimizerOptions&) { o.beta2 = 1; },
                   "[optimizer] beta2 is 1, allowed: from 0 to below 1"},
        BadOptions{"nesterov",
                   [](OptimizerOptions& o, AutogradOptimizerOptions&) { o.name = "sgd", o.nesterov = true; },
                   "nesterov needs momentum > 0 and dampening 0"},
        BadOptions{"torchs_lion",
                   [](OptimizerOptions& o, AutogradOptimizerOptions&) { o.name = "lion", o.implementation = "torch"; },
                   "LibTorch has no lion, allowed: implementation = \"gradwise\""},
        BadOptions{
            "torchs_maximize",
            [](OptimizerOptions& o, AutogradOptimizerOptions&) { o.maximize = true, o.implementation = "torch"; },
            "maximize, parity, state_dtype and stochastic_rounding need implementation = \"gradwise\""},
        BadOptions{"state_dtype", [](OptimizerOptions& o, AutogradOptimizerOptions&) { o.state_dtype = "float16"; },
                   "state_dtype is \"float16\", allowed: float32, bfloat16"},
        BadOptions{"lbfgs_groups",
                   [](OptimizerOptions& o, AutogradOptimizerOptions&) { o.name = "lbfgs", o.groups = {"* lr=1"}; },
                   "lbfgs takes no parameter groups"},
        BadOptions{"lbfgs_precision",
                   [](OptimizerOptions& o, AutogradOptimizerOptions& s) { o.name = "lbfgs", s.precision = "bfloat16"; },
                   "an optimizer that takes a closure needs precision \"float32\", it is \"bfloat16\""},
        BadOptions{"clip_method", [](OptimizerOptions&, AutogradOptimizerOptions& s) { s.clip.method = "norms"; },
                   "[optimizer] clip.method is \"norms\", allowed: norm, value, agc, none"},
        BadOptions{"max_norm", [](OptimizerOptions&, AutogradOptimizerOptions& s) { s.clip.max_norm = 0; },
                   "[optimizer] clip.max_norm is 0, allowed: > 0"},
        BadOptions{"on_nonfinite", [](OptimizerOptions&, AutogradOptimizerOptions& s) { s.on_nonfinite = "stop"; },
                   "[optimizer] on_nonfinite is \"stop\", allowed: skip, raise, ignore"},
        BadOptions{"growth", [](OptimizerOptions&, AutogradOptimizerOptions& s) { s.scaler.growth_factor = 1; },
                   "scaler"}),
    [](const testing::TestParamInfo<BadOptions>& info) { return std::string(info.param.name); });

TEST(OptimizerConstruction, RefusesModelWithNothingToTrain) {
  Model model = toy_model();
  for (const at::Tensor& parameter : model.parameters.tensors) {
    parameter.requires_grad_(false);
  }
  EXPECT_ERROR_WITH("none of the 4 parameters asks for a gradient", AutogradOptimizer(model));
}

TEST(OptimizerConstruction, RefusesNullPointer) {
  EXPECT_ERROR_WITH("the optimizer is a null pointer",
                    AutogradOptimizer(toy_model(), std::unique_ptr<torch::optim::Optimizer>()));
}

}  // namespace
}  // namespace gradwise
