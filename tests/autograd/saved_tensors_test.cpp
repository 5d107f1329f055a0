// Tensors that operators save go elsewhere and come back; scopes nest and end in any order; what stays is watched.
#include "gradwise/autograd/memory/saved_tensor_hooks.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/real.h>
#include <gtest/gtest.h>

#include <thread>

#include "gradwise/autograd/memory/peak_memory.h"
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

// Six layers of which ReLU saves its result and the next layer the same tensor as its input.
at::Tensor loss_of_layers(const at::Tensor& x, const std::vector<at::Tensor>& weights) {
  at::Tensor y = x;
  for (const at::Tensor& weight : weights) {
    y = at::linear(y, weight).relu();
  }
  return y.sum();
}

constexpr std::int64_t kLayerBytes = 64 * 64 * 4;

std::vector<at::Tensor> six_weights() {
  std::vector<at::Tensor> weights;
  for (int i = 0; i < 6; ++i) {
    weights.push_back(at::randn({64, 64}).requires_grad_());
  }
  return weights;
}

TEST(SavedTensors, InBFloat16TakeHalfTheMemory) {
  const at::Tensor x = at::randn({64, 64}).requires_grad_();
  const std::vector<at::Tensor> weights = six_weights();
  const auto held_with = [&](const MakeStore& store) {
    const PeakMemory memory;
    const std::unique_ptr<SavedTensorHooks> hooks = store ? store() : nullptr;
    const at::Tensor loss = loss_of_layers(x, weights);
    return memory.current();
  };
  const std::int64_t plain = held_with({});
  EXPECT_GE(plain, 6 * kLayerBytes);
  EXPECT_LT(plain, 6 * kLayerBytes + 1024);
  EXPECT_LT(held_with([] { return saved_tensors_in_bfloat16(); }), 3 * kLayerBytes + 1024);
}

std::uintmax_t bytes_under(const std::filesystem::path& folder) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    bytes += entry.is_regular_file() ? entry.file_size() : 0;
  }
  return bytes;
}

TEST(SavedTensors, OnDiskAreWrittenOnceAndGoWithTheGraph) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "saved_once";
  std::filesystem::create_directories(folder);
  const at::Tensor x = at::randn({64, 64}).requires_grad_();
  const std::vector<at::Tensor> weights = six_weights();
  const auto hooks = saved_tensors_on_disk(folder);
  at::Tensor loss = loss_of_layers(x, weights);
  EXPECT_EQ(bytes_under(folder), 6 * kLayerBytes);
  const at::Tensor again = loss_of_layers(x, weights);
  EXPECT_EQ(bytes_under(folder), 12 * kLayerBytes);
  loss = at::Tensor();
  EXPECT_EQ(bytes_under(folder), 6 * kLayerBytes);
  again.backward();
  EXPECT_EQ(bytes_under(folder), 0);
}

// The memory is the same, what is in it is not.
TEST(SavedTensors, AreKeptAgainOnceTheyAreWrittenTo) {
  const at::Tensor x = at::randn({64, 32}, at::kDouble).requires_grad_();
  at::Tensor loss;
  {
    const auto hooks = saved_tensors_compressed();
    at::Tensor h = x.mul(1);
    const at::Tensor first = h.sin();
    h.mul_(2);
    loss = first.add(h.sin()).sum();
  }
  loss.backward();
  const at::Tensor expected = x.detach().cos().add(x.detach().mul(2).cos(), 2);
  EXPECT_TRUE(x.grad().allclose(expected, 1e-12, 1e-12));
}

TEST(SavedTensors, StayWhereTheyAreConjugated) {
  const at::Tensor x = at::randn({64, 32}, at::kComplexDouble).requires_grad_();
  at::Tensor loss;
  {
    const auto hooks = saved_tensors_compressed();
    const at::Tensor z = x.mul(2);
    loss = at::real(z.conj().mul(z)).sum();  // 4 |x|^2
  }
  loss.backward();
  EXPECT_TRUE(x.grad().allclose(x.detach().mul(8), 1e-12, 1e-12));
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
