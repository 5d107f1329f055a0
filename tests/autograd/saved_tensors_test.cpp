// Tensors that operators save go elsewhere and come back; scopes nest and end in any order; what stays is watched.
#include "gradwise/autograd/memory/saved_tensor_hooks.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <thread>

#include "gradwise/core/random_state.h"
#include "tests/data/error_of.h"

namespace gradwise {
namespace {

using MakeStore = std::function<std::unique_ptr<SavedTensorHooks>()>;

std::vector<at::Tensor> gradients_through(const MakeStore& store) {
  seed_everything(4);
  std::vector<at::Tensor> weights;
  for (int i = 0; i < 4; ++i) {
    weights.push_back(at::randn({32, 32}).mul(0.1).requires_grad_());
  }
  const at::Tensor x = at::randn({64, 32}).requires_grad_();
  at::Tensor loss;
  {
    const std::unique_ptr<SavedTensorHooks> hooks = store ? store() : nullptr;
    at::Tensor y = x;
    for (const at::Tensor& weight : weights) {
      y = at::linear(y, weight).tanh().relu();
    }
    loss = y.sum();
  }
  loss.backward();
  return {x.grad()};
}

TEST(SavedTensors, OnDiskOnHostAndCompressedGradientsAreBitIdentical) {
  const at::Tensor plain = gradients_through({})[0];
  const std::filesystem::path folder = std::filesystem::temp_directory_path();
  EXPECT_TRUE(gradients_through([] { return saved_tensors_on_host(); })[0].equal(plain));
  EXPECT_TRUE(gradients_through([&] { return saved_tensors_on_disk(folder); })[0].equal(plain));
  EXPECT_TRUE(gradients_through([] { return saved_tensors_compressed(); })[0].equal(plain));
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_FALSE(entry.path().filename().string().starts_with("gradwise-saved-")) << entry.path();
  }
}

TEST(SavedTensors, InBFloat16GradientsAreNear) {
  const at::Tensor plain = gradients_through({})[0];
  const at::Tensor rounded = gradients_through([] { return saved_tensors_in_bfloat16(); })[0];
  EXPECT_FALSE(rounded.equal(plain));
  EXPECT_LT(rounded.sub(plain).norm().item<double>(), 0.02 * plain.norm().item<double>());
}

TEST(SavedTensors, SayWhatCannotBeWritten) {
  EXPECT_ERROR_WITH("can't make a folder in /proc/nothing", saved_tensors_on_disk("/proc/nothing"));
}

// x.grad is made of the weight alone, which the layer saves transposed.
TEST(SavedTensors, LeaveTransposedWeightsWhereTheyAre) {
  seed_everything(4);
  const at::Tensor x = at::randn({64, 32}).requires_grad_();
  const at::Tensor weight = at::randn({32, 32}).requires_grad_();
  at::linear(x, weight).sum().backward();
  const at::Tensor plain = x.grad().clone();
  x.mutable_grad() = at::Tensor();
  at::Tensor loss;
  {
    const auto hooks = saved_tensors_in_bfloat16();
    loss = at::linear(x, weight).sum();
  }
  loss.backward();
  EXPECT_TRUE(x.grad().equal(plain));
}

TEST(SavedTensors, NoticeWhatIsWrittenToThoseThatStay) {
  const at::Tensor x = at::randn({64, 32}).requires_grad_();
  const at::Tensor weight = at::randn({32, 32}).requires_grad_();
  at::Tensor loss;
  {
    const auto hooks = saved_tensors_compressed();
    loss = at::linear(x, weight).sum();
  }
  {
    const at::NoGradGuard no_grad;
    weight.add_(1);
  }
  EXPECT_ERROR_WITH("a tensor that backward needs was written to in place", loss.backward());
}

// Hooks that count what goes through them.
std::unique_ptr<SavedTensorHooks> counting(int& count) {
  return std::make_unique<SavedTensorHooks>([&count](const at::Tensor& tensor) -> UnpackSaved {
    ++count;
    return [tensor] { return tensor; };
  });
}

TEST(SavedTensorHooks, EndInAnyOrderAndInAnyThread) {
  const at::Tensor x = at::randn({3}).requires_grad_();
  int outer_count = 0;
  int inner_count = 0;
  auto outer = counting(outer_count);
  auto inner = counting(inner_count);
  (void)x.sin();
  EXPECT_EQ(inner_count, 1);
  outer.reset();
  (void)x.sin();
  EXPECT_EQ(inner_count, 2);
  std::thread([&inner] { inner.reset(); }).join();
  (void)x.sin();
  EXPECT_EQ(inner_count, 2);
  EXPECT_EQ(outer_count, 0);
}

}  // namespace
}  // namespace gradwise
