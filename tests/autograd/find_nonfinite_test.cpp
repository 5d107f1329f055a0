// Operators that are known to make inf or NaN, in forward and in backward; masks that are no mistake; what stays.
#include "gradwise/autograd/find_nonfinite.h"

#include <ATen/ThreadLocalState.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/bernoulli.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <thread>

#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"
#include "tests/data/tensor_of.h"
#include "tests/optim/toy_model.h"

namespace gradwise {
namespace {

using Act = std::function<at::Tensor(const at::Tensor&)>;

// input (4 x 3) * scale.weight -> act -> head.weight
Model model_of(const Act& act, double weight = 1) {
  const at::Tensor scale = at::ones({3}).mul(weight).requires_grad_();
  const at::Tensor head = at::ones({3, 1}).requires_grad_();
  Model model;
  model.parameters = {{"scale.weight", "head.weight"}, {scale, head}};
  model.forward = [scale, head, act](const Batch& batch) { return act(batch.input.mul(scale)).matmul(head); };
  return model;
}

const LossFunction kMean = [](const at::Tensor& output, const at::Tensor&) { return output.mean(); };

at::Tensor input() { return tensor_of<float>({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, {4, 3}); }

struct Culprit {
  const char* name;
  Act act;
  double weight;
  const char* phase;
  const char* op;
};

class FindNonfinite : public testing::TestWithParam<Culprit> {};

TEST_P(FindNonfinite, NamesTheOperatorAndItsLayer) {
  const auto origin = find_nonfinite(model_of(GetParam().act, GetParam().weight), kMean, input(), {});
  ASSERT_TRUE(origin.has_value());
  EXPECT_EQ(origin->phase, GetParam().phase);
  EXPECT_EQ(origin->op, GetParam().op);
  EXPECT_EQ(origin->layer, "scale");
  EXPECT_FALSE(origin->output.finite());
  for (const TensorFacts& facts : origin->inputs) {
    EXPECT_TRUE(facts.finite());
  }
  EXPECT_NE(origin->message.find(GetParam().op), std::string::npos);
  EXPECT_FALSE(origin->advice.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Operators, FindNonfinite,
    testing::Values(
        Culprit{"log_of_zero", [](const at::Tensor& x) { return x.log(); }, 1, "forward", "aten::log"},
        Culprit{"root_of_negative", [](const at::Tensor& x) { return x.sub(5).sqrt(); }, 1, "forward", "aten::sqrt"},
        Culprit{"exponential", [](const at::Tensor& x) { return x.exp(); }, 100, "forward", "aten::exp"},
        Culprit{"inf_minus_inf", [](const at::Tensor& x) { return x.exp().sub(x.exp()); }, 100, "forward", "aten::exp"},
        Culprit{"zero_by_zero", [](const at::Tensor& x) { return x.div(x); }, 1, "forward", "aten::div"},
        Culprit{"float16", [](const at::Tensor& x) { return x.to(at::kHalf).mul(x.to(at::kHalf)).to(at::kFloat); },
                1000, "forward", "aten::mul"},
        Culprit{"root_at_zero", [](const at::Tensor& x) { return x.sqrt(); }, 1, "backward",
                "SqrtBackward0 (aten::div)"},
        Culprit{"where_trick", [](const at::Tensor& x) { return at::where(x.gt(0), x.sqrt(), at::zeros_like(x)); }, 1,
                "backward", "SqrtBackward0 (aten::div)"}),
    [](const auto& info) { return info.param.name; });

TEST(FindNonfiniteOf, HealthyStepsIsNothing) {
  EXPECT_FALSE(find_nonfinite(model_of([](const at::Tensor& x) { return x.relu(); }), kMean, input(), {}));
  const Act masked = [](const at::Tensor& x) {
    return x.masked_fill(x.gt(6), -std::numeric_limits<double>::infinity()).softmax(0);
  };
  EXPECT_FALSE(find_nonfinite(model_of(masked), kMean, input(), {})) << "a mask is no mistake";
}

TEST(FindNonfiniteOf, ARowThatIsMaskedWholeIsTheSoftmax) {
  const Act masked = [](const at::Tensor& x) {
    return x.masked_fill(x.ge(0), -std::numeric_limits<double>::infinity()).softmax(1);
  };
  const auto origin = find_nonfinite(model_of(masked), kMean, input(), {});
  ASSERT_TRUE(origin.has_value());
  EXPECT_EQ(origin->op, "aten::_softmax");
}

TEST(FindNonfiniteOf, WhatWasGivenNamesIt) {
  const Act plain = [](const at::Tensor& x) { return x; };
  const at::Tensor bad = input();
  bad[1][1].fill_(NAN);
  const auto by_input = find_nonfinite(model_of(plain), kMean, bad, {});
  ASSERT_TRUE(by_input.has_value());
  EXPECT_EQ(by_input->phase, "input");
  EXPECT_NE(by_input->message.find("float32 4x3, 0 to 11, 1 NaN"), std::string::npos) << by_input->message;
  const Model model = model_of(plain);
  {
    const at::NoGradGuard no_grad;
    at::Tensor(model.parameters.tensors[1]).fill_(INFINITY);
  }
  const auto by_weight = find_nonfinite(model, kMean, input(), {});
  ASSERT_TRUE(by_weight.has_value());
  EXPECT_EQ(by_weight->phase, "parameter");
  EXPECT_EQ(by_weight->op, "head.weight");
}

// Backward runs the nodes of another device in a thread that takes this one's state, as the thread here does.
TEST(FindNonfiniteOf, OperatorsInOtherThreadsNamesThem) {
  const Act elsewhere = [](const at::Tensor& x) {
    at::Tensor y;
    const at::ThreadLocalState state;
    std::thread([&] {
      const at::ThreadLocalStateGuard guard(state);
      y = x.log();
    }).join();
    return y;
  };
  const auto origin = find_nonfinite(model_of(elsewhere), kMean, input(), {});
  ASSERT_TRUE(origin.has_value());
  EXPECT_EQ(origin->op, "aten::log");
  EXPECT_EQ(origin->phase, "forward");
}

TEST(FindNonfiniteOf, AnyModelLeavesItAsItWas) {
  const at::Tensor mean = at::zeros({3});
  const at::Tensor variance = at::ones({3});
  Model model = model_of([mean, variance](const at::Tensor& x) {
    const at::Tensor dropped = x.mul(at::bernoulli(x.detach().sigmoid()));
    return at::batch_norm(dropped, {}, {}, mean, variance, /*training=*/true, 0.1, 1e-5, false).log();
  });
  model.buffers = {{"mean", "variance"}, {mean, variance}};
  seed_everything(7);
  const State before = random_state(at::kCPU);
  ASSERT_TRUE(find_nonfinite(model, kMean, input(), {}).has_value());
  const State after = random_state(at::kCPU);
  for (const auto& [name, tensor] : before.tensors) {
    EXPECT_TRUE(tensor.equal(after.tensors.at(name)));
  }
  EXPECT_TRUE(mean.equal(at::zeros({3})));
  EXPECT_TRUE(variance.equal(at::ones({3})));
  EXPECT_FALSE(model.parameters.tensors[0].grad().defined());
}

TEST(FindNonfiniteOf, BadCallsIsAnError) {
  const Model model = model_of([](const at::Tensor& x) { return x; });
  EXPECT_ERROR_WITH("[find_nonfinite] the loss is no scalar with a graph",
                    (void)find_nonfinite(model, [](const at::Tensor& y, const at::Tensor&) { return y; }, input(), {}));
  Model frozen = model;
  frozen.parameters = {{"p"}, {at::ones({1})}};
  EXPECT_ERROR_WITH("none of the 1 parameters asks for a gradient", (void)find_nonfinite(frozen, kMean, input(), {}));
}

}  // namespace
}  // namespace gradwise
