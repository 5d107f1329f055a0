// Cross-entropies under vmap against LibTorch's own operators, slice by slice.
#include "gradwise/autograd/transforms/batching_rules.h"

#include <ATen/core/Reduction.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/function.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/autograd/transforms/vjp.h"
#include "gradwise/autograd/transforms/vmap.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

constexpr std::int64_t kSlices = 6;
constexpr std::int64_t kClasses = 4;

struct Case {
  std::string name;
  std::vector<std::int64_t> logits;  ///< of a slice
  std::vector<std::int64_t> target;
  std::int64_t reduction = at::Reduction::Mean;
  std::int64_t ignore_index = -100;
  bool weighted = false;
  double smoothing = 0;
};

const Case kCases[] = {
    {"one_sample", {kClasses}, {}},
    {"one_sample_weighted", {kClasses}, {}, at::Reduction::None, -100, true},
    {"rows", {5, kClasses}, {5}},
    {"rows_summed", {5, kClasses}, {5}, at::Reduction::Sum},
    {"rows_each", {5, kClasses}, {5}, at::Reduction::None, 1, true},
    {"rows_ignored_and_weighted", {5, kClasses}, {5}, at::Reduction::Mean, 2, true},
    // Smoothed with weights, the mean selects targets by a mask, which LibTorch cannot do under vmap.
    {"rows_smoothed", {5, kClasses}, {5}, at::Reduction::Mean, 2, false, 0.1},
    {"sequences", {2, kClasses, 3}, {2, 3}, at::Reduction::Mean, 0},
    {"pictures", {2, kClasses, 3, 2}, {2, 3, 2}, at::Reduction::Mean, 3, true},
    {"pictures_each", {2, kClasses, 3, 2}, {2, 3, 2}, at::Reduction::None},
};

class BatchingRules : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    seed_everything(5);
    const auto batched = [](std::vector<std::int64_t> shape) {
      shape.insert(shape.begin(), kSlices);
      return shape;
    };
    logits = at::randn(batched(GetParam().logits), at::kDouble);
    target = at::randint(kClasses, batched(GetParam().target), at::kLong);
    // Something counts in every slice, whatever is ignored.
    target.view({kSlices, -1}).select(1, 0).fill_((GetParam().ignore_index + 1 + 400) % kClasses);
    if (GetParam().weighted) {
      weight = at::rand({kClasses}, at::kDouble).add(0.5);
    }
  }

  [[nodiscard]] TensorFunction loss() const {
    return [this](const Tensors& in) {
      return Tensors{at::cross_entropy_loss(in[0], in[1], weight, GetParam().reduction, GetParam().ignore_index,
                                            GetParam().smoothing)};
    };
  }

  [[nodiscard]] TensorFunction summed() const {
    return [of = loss()](const Tensors& in) { return Tensors{of(in)[0].sum()}; };
  }

  /// `function` of each slice alone.
  [[nodiscard]] at::Tensor looped(const TensorFunction& function) const {
    Tensors results;
    for (std::int64_t i = 0; i < kSlices; ++i) {
      results.push_back(function({logits[i], target[i]})[0]);
    }
    return at::stack(results);
  }

  at::Tensor logits, target;
  std::optional<at::Tensor> weight;
};

bool near(const at::Tensor& a, const at::Tensor& b) { return a.sizes() == b.sizes() && a.allclose(b, 1e-10, 1e-12); }

std::size_t nodes_of(const at::Tensor& tensor) {
  std::set<torch::autograd::Node*> seen;
  std::vector<torch::autograd::Node*> open{tensor.grad_fn().get()};
  while (!open.empty()) {
    torch::autograd::Node* node = open.back();
    open.pop_back();
    if (node != nullptr && seen.insert(node).second) {
      for (const torch::autograd::Edge& edge : node->next_edges()) {
        open.push_back(edge.function.get());
      }
    }
  }
  return seen.size();
}

TEST_P(BatchingRules, GiveTheLossesOfASliceAlone) {
  EXPECT_TRUE(near(vmap(loss())({logits, target})[0], looped(loss())));
  const at::Tensor same = target[0];
  Tensors results;
  for (std::int64_t i = 0; i < kSlices; ++i) {
    results.push_back(loss()({logits[i], same})[0]);
  }
  EXPECT_TRUE(near(vmap(loss(), {.in_dims = {0, std::nullopt}})({logits, same})[0], at::stack(results)));
}

TEST_P(BatchingRules, GiveTheGradientsOfASliceAlone) {
  const TensorFunction gradient = grad(summed());
  EXPECT_TRUE(near(vmap(gradient)({logits, target})[0], looped(gradient)));
}

TEST_P(BatchingRules, GiveTheRowsOfAJacobian) {
  const Tensors slice{logits[0], target[0]};
  const auto rows = [&](std::optional<std::int64_t> chunk) {
    return jacobian(loss(), {.mode = JacobianMode::reverse, .chunk_size = chunk})(slice)[0];
  };
  EXPECT_TRUE(near(rows(std::nullopt), rows(1)));
}

// The operators are those of the whole batch: the graph does not grow with it.
TEST_P(BatchingRules, GoOverNoSliceAlone) {
  const auto nodes = [this](std::int64_t slices) {
    const at::Tensor some = logits.narrow(0, 0, slices).clone().requires_grad_();
    return nodes_of(vmap(loss())({some, target.narrow(0, 0, slices)})[0]);
  };
  EXPECT_EQ(nodes(2), nodes(kSlices));
}

INSTANTIATE_TEST_SUITE_P(CrossEntropy, BatchingRules, testing::ValuesIn(kCases),
                         [](const testing::TestParamInfo<Case>& tested) { return tested.param.name; });

}  // namespace
}  // namespace gradwise
