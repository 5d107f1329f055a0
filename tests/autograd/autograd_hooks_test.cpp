#include "gradwise/autograd/autograd_hooks.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

// A toy network whose hidden layer is shown to the hooks.
at::Tensor hooked_loss(const Model& model, AutogradHooks& hooks, at::Tensor& hidden) {
  const Batch batch = toy_batch(8);
  hidden = batch.input.matmul(model.parameters.tensors[0]).add(model.parameters.tensors[1]).tanh();
  hooks.observe("layer", hidden);
  hidden.retain_grad();
  return hidden.matmul(model.parameters.tensors[2]).add(model.parameters.tensors[3]).sub(batch.target).square().mean();
}

TEST(AutogradHooks, SeeGradientsActivationsAndTheirGradients) {
  const Model model = toy_model();
  AutogradHooks hooks(model.parameters, {.keep_tensors = true});
  at::Tensor hidden;
  hooked_loss(model, hooks, hidden).backward();
  ASSERT_EQ(hooks.records().size(), 6U);  // four parameters, an activation, its gradient
  for (std::size_t i = 0; i < 4; ++i) {
    const HookRecord seen = hooks.record(HookKind::parameter_gradient, model.parameters.names[i]);
    const at::Tensor g = model.parameters.tensors[i].grad();
    EXPECT_TRUE(seen.tensor.equal(g));
    EXPECT_EQ(seen.shape, g.sizes().vec());
    EXPECT_NEAR(seen.norm, g.norm().item<double>(), 1e-6);
    EXPECT_NEAR(seen.min, g.min().item<double>(), 1e-9);
    EXPECT_NEAR(seen.max, g.max().item<double>(), 1e-9);
  }
  const HookRecord activation = hooks.record(HookKind::activation, "layer");
  EXPECT_NEAR(activation.mean, hidden.mean().item<double>(), 1e-6);
  EXPECT_NEAR(activation.deviation, hidden.std(false).item<double>(), 1e-6);
  const HookRecord gradient = hooks.record(HookKind::activation_gradient, "layer");
  EXPECT_TRUE(gradient.tensor.equal(hidden.grad()));
  EXPECT_ERROR_WITH("nothing was seen of \"leyer\"; did you mean \"layer\"?",
                    hooks.record(HookKind::activation, "leyer"));
}

TEST(AutogradHooks, TakeWhatPatternsName) {
  const Model model = toy_model();
  AutogradHooks hooks(model.parameters, {.patterns = {"head.*"}});
  at::Tensor hidden;
  hooked_loss(model, hooks, hidden).backward();
  ASSERT_EQ(hooks.records().size(), 2U);
  EXPECT_EQ(hooks.records()[0].name.substr(0, 5), "head.");
  EXPECT_FALSE(hooks.records()[0].tensor.defined());
}

TEST(AutogradHooks, CountAndGo) {
  const Model model = toy_model();
  AutogradHooks hooks(model.parameters);
  at::Tensor hidden;
  hooked_loss(model, hooks, hidden).backward();
  const at::Tensor left = hooked_loss(model, hooks, hidden);
  EXPECT_EQ(hooks.record(HookKind::activation, "layer").times, 2);
  hooks.remove();
  left.backward();  // observed before, told no more
  hooked_loss(model, hooks, hidden).backward();
  EXPECT_EQ(hooks.record(HookKind::activation, "layer").times, 2);
  EXPECT_EQ(hooks.record(HookKind::parameter_gradient, "head.bias").times, 1);
  hooks.clear();
  EXPECT_TRUE(hooks.records().empty());
}

TEST(AutogradHooks, CountWhatIsNotFinite) {
  at::Tensor x = random_tensor({4, 5}, 3);
  x[0][0] = NAN;
  x[0][1] = INFINITY;
  x[1][0] = 0;
  AutogradHooks hooks(NamedParameters{});
  hooks.observe("x", x);
  const HookRecord seen = hooks.record(HookKind::activation, "x");
  EXPECT_NEAR(seen.nonfinite, 0.1, 1e-12);
  EXPECT_NEAR(seen.zeros, 0.05, 1e-12);
  EXPECT_TRUE(std::isfinite(seen.norm));
  hooks.observe("positive", tensor_of<float>({5, NAN, 7, INFINITY}, {4}));
  EXPECT_EQ(hooks.record(HookKind::activation, "positive").min, 5);
  EXPECT_EQ(hooks.record(HookKind::activation, "positive").max, 7);
  hooks.observe("negative", tensor_of<float>({-5, NAN, -7, -INFINITY}, {4}));
  EXPECT_EQ(hooks.record(HookKind::activation, "negative").min, -7);
  EXPECT_EQ(hooks.record(HookKind::activation, "negative").max, -5);
  hooks.observe("none", tensor_of<float>({NAN, INFINITY}, {2}));
  EXPECT_TRUE(std::isnan(hooks.record(HookKind::activation, "none").min));
}

TEST(AutogradHooks, ChangeNoGradient) {
  const Model hooked = toy_model();
  const Model plain = toy_model();
  AutogradHooks hooks(hooked.parameters);
  AutogradHooks none(plain.parameters, {.patterns = {}});
  at::Tensor hidden;
  hooked_loss(hooked, hooks, hidden).backward();
  hooked_loss(plain, none, hidden).backward();
  EXPECT_TRUE(none.records().empty());
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(hooked.parameters.tensors[i].grad().equal(plain.parameters.tensors[i].grad()));
  }
}

}  // namespace
}  // namespace gradwise
