// Checkpointed functions give the gradients of plain ones to the bit, with less memory, and notice what changes.
#include "gradwise/autograd/checkpoint/checkpoint.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/graph_walk.h"
#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

at::Tensor parameter(at::IntArrayRef shape) { return at::randn(shape).requires_grad_(); }

// Two layers with dropout between them; the weights are captured.
struct Block {
  at::Tensor first = parameter({8, 8});
  at::Tensor second = parameter({8, 8});
  int runs = 0;

  Tensors operator()(const Tensors& in) {
    ++runs;
    const at::Tensor hidden = at::dropout(at::linear(in[0], first).tanh(), 0.5, true);
    return {at::linear(hidden, second).sin(), hidden.exp()};
  }
};

class Checkpoint : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override { seed_everything(7); }

  // Gradients of input and weights, through `wrap`, from the same random state.
  Tensors gradients_with(Block& block, const std::function<Tensors(const TensorFunction&, const Tensors&)>& wrap) {
    seed_everything(9);
    const at::Tensor x = at::randn({4, 8}).requires_grad_();
    for (const at::Tensor& weight : {block.first, block.second}) {
      weight.mutable_grad() = at::Tensor();
    }
    const Tensors out = wrap([&block](const Tensors& in) { return block(in); }, {x});
    out[0].mul(out[1]).sum().backward();
    return {x.grad(), block.first.grad(), block.second.grad(), at::rand({1})};  // and the random state behind it
  }
};

TEST_P(Checkpoint, GradientsAreBitIdenticalWithDropout) {
  Block block;
  const Tensors plain = gradients_with(block, [](const TensorFunction& f, const Tensors& in) { return f(in); });
  block.runs = 0;
  const Tensors kept = gradients_with(
      block, [](const TensorFunction& f, const Tensors& in) { return checkpoint(f, in, {.reentrant = GetParam()}); });
  EXPECT_EQ(block.runs, 2);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    EXPECT_TRUE(plain[i].equal(kept[i])) << i;
  }
}
INSTANTIATE_TEST_SUITE_P(BothForms, Checkpoint, testing::Bool(),
                         [](const auto& info) { return info.param ? "reentrant" : "non_reentrant"; });

TEST_P(Checkpoint, WithoutTheRandomStateDropoutDiffers) {
  Block block;
  const Tensors plain = gradients_with(block, [](const TensorFunction& f, const Tensors& in) { return f(in); });
  const Tensors kept = gradients_with(block, [](const TensorFunction& f, const Tensors& in) {
    return checkpoint(f, in, {.reentrant = GetParam(), .preserve_random_state = false});
  });
  EXPECT_FALSE(plain[1].equal(kept[1]));
}

class CheckpointForms : public testing::Test {
 protected:
  void SetUp() override { seed_everything(3); }
};

const TensorFunction kCurve = [](const Tensors& in) { return Tensors{in[0].sin().mul(in[0].exp())}; };

TEST_F(CheckpointForms, NestedOnesAndAutogradGradAndSeveralBackwards) {
  const at::Tensor x = at::randn({6}, at::kDouble).requires_grad_();
  const TensorFunction nested = [](const Tensors& in) {
    return checkpoint([](const Tensors& inner) { return checkpoint(kCurve, {inner[0].mul(2)}); }, in);
  };
  const Tensors out = nested({x});
  const at::Tensor expected = gradients({kCurve({x.mul(2)})[0].sum()}, {x})[0];
  const at::Tensor sum = out[0].sum();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(gradients({sum}, {x}, {}, {.retain_graph = true})[0].equal(expected)) << i;
  }
}

TEST_F(CheckpointForms, DoubleBackward) {
  const at::Tensor x = at::randn({6}, at::kDouble).requires_grad_();
  const auto second = [&x](const Tensors& out) {
    const at::Tensor first = gradients({out[0].sum()}, {x}, {}, {.create_graph = true})[0];
    return gradients({first.pow(2).sum()}, {x})[0];
  };
  EXPECT_TRUE(second(checkpoint(kCurve, {x})).equal(second(kCurve({x}))));
}

TEST_F(CheckpointForms, InputsWithoutGradientButCapturedParameters) {
  const at::Tensor w = parameter({5});
  const at::Tensor x = at::randn({5});
  checkpoint([w](const Tensors& in) { return Tensors{in[0].mul(w).sin()}; }, {x})[0].sum().backward();
  EXPECT_TRUE(w.grad().equal(x.mul(x.mul(w.detach()).cos())));
}

TEST_F(CheckpointForms, EarlyStopEndsWhereTheLastSavedTensorIsMade) {
  const at::Tensor x = at::randn({5}).requires_grad_();
  int tails = 0;
  const TensorFunction with_tail = [&tails](const Tensors& in) {
    const at::Tensor y = in[0].sin();  // saves its input
    ++tails;                           // of what follows nothing is saved
    return Tensors{y.add(1)};
  };
  checkpoint(with_tail, {x})[0].sum().backward();
  EXPECT_EQ(tails, 1);
  checkpoint(with_tail, {x}, {.early_stop = false})[0].sum().backward();
  EXPECT_EQ(tails, 3);
}

TEST_F(CheckpointForms, NoticesAFunctionThatDoesSomethingElseTheSecondTime) {
  const at::Tensor x = at::randn({5}).requires_grad_();
  const auto changing = [](const std::function<at::Tensor(const at::Tensor&, bool)>& f) {
    auto runs = std::make_shared<int>(0);
    return [f, runs](const Tensors& in) { return Tensors{f(in[0], ++*runs > 1).sum()}; };
  };
  const auto backward = [&x](const TensorFunction& f) { checkpoint(f, {x})[0].backward(); };
  EXPECT_ERROR_WITH(
      "saved tensor 0 was Float [5] on cpu in the forward pass and is Float [3] on cpu",
      backward(changing([](const at::Tensor& t, bool again) { return (again ? t.narrow(0, 0, 3) : t).sin(); })));
  EXPECT_ERROR_WITH(
      "is Double [5] on cpu",
      backward(changing([](const at::Tensor& t, bool again) { return (again ? t.to(at::kDouble) : t).sin(); })));
  EXPECT_ERROR_WITH(
      "the forward pass saved 2 tensors and the recomputation 1",
      backward(changing([](const at::Tensor& t, bool again) { return again ? t.sin() : t.sin().sin(); })));
}

// With early stop the second run ends before it makes them, and what it has made is right.
TEST_F(CheckpointForms, NoticesTensorsBeyondThoseOfTheForwardPassWithoutEarlyStop) {
  const at::Tensor x = at::randn({5}).requires_grad_();
  const auto longer = [] {
    return [runs = std::make_shared<int>(0)](const Tensors& in) {
      const at::Tensor y = in[0].sin();
      return Tensors{++*runs > 1 ? y.exp() : y};
    };
  };
  EXPECT_ERROR_WITH("the forward pass saved 1 tensors and the recomputation 2",
                    checkpoint(longer(), {x}, {.early_stop = false})[0].sum().backward());
  checkpoint(longer(), {x}, {.early_stop = false, .determinism_check = false})[0].sum().backward();
  EXPECT_TRUE(x.grad().equal(x.detach().cos()));
  x.mutable_grad() = at::Tensor();
  checkpoint(longer(), {x})[0].sum().backward();
  EXPECT_TRUE(x.grad().equal(x.detach().cos()));
}

TEST_F(CheckpointForms, AutocastIsAsInTheForwardPass) {
  const at::Tensor w = parameter({8, 8});
  const at::Tensor x = at::randn({4, 8});
  at::ScalarType seen = at::kFloat;
  const TensorFunction f = [&](const Tensors& in) {
    const at::Tensor y = at::linear(in[0], w).sin();
    seen = y.scalar_type();
    return Tensors{y};
  };
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const at::Tensor y = checkpoint(f, {x}, {.early_stop = false})[0];
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  seen = at::kFloat;
  y.sum().backward();
  EXPECT_EQ(seen, at::kBFloat16);
  EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
}

TEST_F(CheckpointForms, ReentrantOnesRefuseAutogradGrad) {
  const at::Tensor x = at::randn({5}).requires_grad_();
  const at::Tensor y = checkpoint(kCurve, {x}, {.reentrant = true})[0].sum();
  EXPECT_ERROR_WITH("does not work with autograd::grad()", gradients({y}, {x}));
}

TEST_F(CheckpointForms, ReentrantOnesRefuseInputsThatAskForNoGradient) {
  const at::Tensor w = parameter({5});
  const at::Tensor x = at::randn({5});
  const TensorFunction f = [w](const Tensors& in) { return Tensors{in[0].mul(w).sin()}; };
  EXPECT_ERROR_WITH("no input of a reentrant checkpoint asks for a gradient", checkpoint(f, {x}, {.reentrant = true}));
  EXPECT_ERROR_WITH("no input of a reentrant checkpoint", checkpoint(f, Tensors{}, {.reentrant = true}));
  const Tensors out = checkpoint(f, {x, at::randn({1}).requires_grad_()}, {.reentrant = true});
  out[0].sum().backward();
  EXPECT_TRUE(w.grad().equal(x.mul(x.mul(w.detach()).cos())));
}

TEST_F(CheckpointForms, LooksFromOutsideRunTheFunctionOnce) {
  const at::Tensor x = at::randn({4, 8}).requires_grad_();
  const at::Tensor count = at::zeros({});
  const TensorFunction three = [&count](const Tensors& in) {
    count.add_(1);  // a buffer
    return Tensors{in[0].tanh().sigmoid().relu()};
  };
  const at::Tensor loss = checkpoint(three, {x})[0].sum();
  const GraphWalk walk = walk_graph(loss, {});
  EXPECT_EQ(walk.activations.size(), 3U);
  EXPECT_EQ(count.item<double>(), 2);
  loss.backward();
  EXPECT_EQ(count.item<double>(), 3);
  const at::Tensor kept = x.grad().clone();
  x.mutable_grad() = at::Tensor();
  three({x})[0].sum().backward();
  EXPECT_TRUE(kept.equal(x.grad()));
}

TEST_F(CheckpointForms, AKeptGraphHoldsNothingOfABackwardThatReachesAPart) {
  const at::Tensor x = at::randn({1000}).requires_grad_();
  const Tensors out =
      checkpoint([](const Tensors& in) { return Tensors{in[0].sin().sum(), in[0].mul(3).exp().sum()}; }, {x});
  const PeakMemory memory;
  for (int i = 0; i < 3; ++i) {
    (void)gradients({out[0]}, {x}, {}, {.retain_graph = true});
    EXPECT_EQ(memory.current(), 0) << i;
  }
}

TEST_F(CheckpointForms, WithoutGradModeTheFunctionRunsPlainly) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = at::randn({5});
  EXPECT_TRUE(checkpoint(kCurve, {x})[0].equal(kCurve({x})[0]));
}

std::vector<StageFunction> layers(std::int64_t count, std::int64_t width) {
  std::vector<StageFunction> made;
  for (std::int64_t i = 0; i < count; ++i) {
    const at::Tensor w = at::randn({width, width}).mul(0.1).requires_grad_();
    made.emplace_back([w](const at::Tensor& x) { return at::linear(x, w).tanh(); });
  }
  return made;
}

TEST_F(CheckpointForms, SequentialSegmentsTakeLessMemoryForTheSameGradients) {
  const std::vector<StageFunction> stages = layers(16, 64);
  const at::Tensor x = at::randn({1024, 64});
  std::vector<std::int64_t> peaks;
  Tensors found;
  for (const std::int64_t segments : {1, 4}) {
    const at::Tensor in = x.detach().requires_grad_();
    const PeakMemory memory;
    const at::Tensor loss = checkpoint_sequential(stages, segments, in).sum();
    loss.backward();
    // Of the step only the input's gradient is left, and those of the weights in its first round.
    EXPECT_EQ(memory.current(), in.grad().nbytes() + (segments == 1 ? 16 * 64 * 64 * 4 : 0) + 4);
    peaks.push_back(memory.peak());
    found.push_back(in.grad());
  }
  EXPECT_TRUE(found[0].equal(found[1]));
  EXPECT_LT(peaks[1], peaks[0] * 6 / 10) << peaks[0];
  EXPECT_ERROR_WITH("segments is 17, allowed: between 1 and the number of stages, 16",
                    checkpoint_sequential(stages, 17, x));
}

TEST_F(CheckpointForms, AWalkHoldsOneCheckpointedPartAtATime) {
  const at::Tensor x = at::randn({1024, 64});
  const at::Tensor loss = checkpoint_sequential(layers(16, 64), 8, x).sum();
  const std::int64_t activation = 1024 * 64 * 4;
  const PeakMemory memory;
  EXPECT_EQ(walk_graph(loss, {}).activations.size(), 16U);
  EXPECT_LT(memory.peak(), 8 * activation);  // all that seven parts save is 14
  EXPECT_LE(memory.current(), 2 * activation);
}

TEST(PeakMemory, CountsWhatTheAllocatorsReport) {
  const PeakMemory outer;
  {
    const PeakMemory memory;
    const at::Tensor kept = at::rand({1000});
    {
      const at::Tensor gone = at::rand({3000});
    }
    EXPECT_EQ(memory.current(), 4000);
    EXPECT_EQ(memory.peak(), 16000);
  }
  EXPECT_EQ(outer.current(), 0);
  EXPECT_EQ(outer.peak(), 16000);
}

TEST(PeakMemory, CountsABackwardPassToo) {
  const at::Tensor x = at::rand({1000}).requires_grad_();
  PeakMemory memory;
  x.sin().sum().backward();
  EXPECT_EQ(memory.current(), 4000);  // the gradient
  EXPECT_GE(memory.peak(), 8000);
}

}  // namespace
}  // namespace gradwise
