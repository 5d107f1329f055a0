#include "gradwise/data/target_scaling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "error_of.h"
#include "tensor_of.h"

namespace gradwise {
namespace {

Dataset with_targets(const at::Tensor& targets) {
  Dataset dataset;
  dataset.inputs = counted<float>({targets.size(0), 1});
  dataset.targets = targets;
  return dataset;
}

// 2, 4, 4, 4, 5, 5, 7, 9 have mean 5 and deviation 2.
TEST(TargetScaling, IsMeanAndDeviation) {
  const at::Tensor targets = tensor_of<float>({2, 4, 4, 4, 5, 5, 7, 9}, {8});
  const TargetScaling scaling = target_scaling_of(with_targets(targets));
  EXPECT_EQ(scaling.mean, std::vector<double>{5});
  EXPECT_EQ(scaling.stddev, std::vector<double>{2});
  const at::Tensor scaled = scaled_targets(targets, scaling);
  EXPECT_EQ(scaled.scalar_type(), at::kFloat);
  EXPECT_EQ(values_of<float>(scaled), (std::vector<float>{-1.5F, -0.5F, -0.5F, -0.5F, 0, 0, 1, 2}));
}

TEST(TargetScaling, IsByColumnAndLeavesAConstantOneInPlace) {
  const at::Tensor targets = tensor_of<double>({1, 7, 3, 7, 5, 7}, {3, 2});
  const TargetScaling scaling = target_scaling_of(with_targets(targets));
  EXPECT_EQ(scaling.mean, (std::vector<double>{3, 7}));
  EXPECT_DOUBLE_EQ(scaling.stddev[0], std::sqrt(8.0 / 3));
  EXPECT_EQ(scaling.stddev[1], 1);
  EXPECT_EQ(values_of<double>(scaled_targets(targets, scaling).select(1, 1)), (std::vector<double>{0, 0, 0}));
  const at::Tensor back = in_own_units(scaled_targets(targets, scaling), scaling);
  EXPECT_LT(back.sub(targets).abs().max().item<double>(), 1e-12);
}

// The mean of three times 0.1 is 0.1 and a rounding.
TEST(TargetScaling, AConstantThatRoundsIsConstant) {
  const at::Tensor targets = tensor_of<double>({0.1, 0.1, 0.1}, {3});
  ASSERT_NE(targets.mean().item<double>(), 0.1);
  const TargetScaling scaling = target_scaling_of(with_targets(targets));
  EXPECT_EQ(scaling.stddev, std::vector<double>{1});
  EXPECT_LT(scaled_targets(targets, scaling).abs().max().item<double>(), 1e-15);
}

// A model's output has a column where the target has none.
TEST(TargetScaling, PutsOutputsBackInEitherShape) {
  const TargetScaling scaling{{100}, {20}};
  const at::Tensor back = in_own_units(tensor_of<float>({-1, 0, 2}, {3, 1}), scaling);
  EXPECT_EQ(back.sizes(), (at::IntArrayRef{3, 1}));
  EXPECT_EQ(values_of<double>(back), (std::vector<double>{80, 100, 140}));
  EXPECT_EQ(in_own_units(tensor_of<float>({-1, 0, 2}, {3}), scaling).dim(), 1);
}

// Pairs of samples from a list; an epoch is as long as the list.
class Pairs : public BatchSource {
 public:
  explicit Pairs(at::Tensor targets) : targets_(std::move(targets)) {}
  void start(std::int64_t /*epoch*/, std::int64_t position) override { position_ = position; }
  bool next(Batch& batch) override {
    if (position_ == batches_per_epoch()) {
      return false;
    }
    batch.target = targets_.slice(0, 2 * position_, 2 * position_ + 2);
    ++position_;
    return true;
  }
  [[nodiscard]] std::int64_t batches_per_epoch() const override { return targets_.size(0) / 2; }

 private:
  at::Tensor targets_;
  std::int64_t position_ = 0;
};

TEST(ScaledTargetSource, ScalesEachBatchAndLeavesTheDataAsTheyWere) {
  const at::Tensor targets = tensor_of<float>({80, 100, 140, 100}, {4});
  ScaledTargetSource source(std::make_unique<Pairs>(targets), {{100}, {20}});
  EXPECT_EQ(source.batches_per_epoch(), 2);
  Batch batch;
  source.start(0, 1);
  ASSERT_TRUE(source.next(batch));
  EXPECT_EQ(values_of<float>(batch.target), (std::vector<float>{2, 0}));
  EXPECT_FALSE(source.next(batch));
  source.start(1, 0);
  ASSERT_TRUE(source.next(batch));
  EXPECT_EQ(values_of<float>(batch.target), (std::vector<float>{-1, 0}));
  EXPECT_EQ(values_of<float>(targets), (std::vector<float>{80, 100, 140, 100}));
  EXPECT_ERROR_WITH("there is no source of batches", ScaledTargetSource(nullptr, {{100}, {20}}));
}

TEST(TargetScaling, RefusesWhatItCannotScale) {
  EXPECT_ERROR_WITH("the targets are whole numbers", target_scaling_of(with_targets(counted<std::int64_t>({3}))));
  EXPECT_ERROR_WITH("the targets are not there",
                    target_scaling_of(Dataset{.inputs = counted<float>({3, 1}), .targets = {}}));
  EXPECT_ERROR_WITH("the targets have shape [2, 2, 2]", target_scaling_of(with_targets(counted<float>({2, 2, 2}))));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_ERROR_WITH("the target of sample 1 is inf or NaN",
                    target_scaling_of(with_targets(tensor_of<float>({1, nan}, {2}))));
  EXPECT_ERROR_WITH("the targets have shape [3, 2], allowed: 1 column",
                    scaled_targets(counted<float>({3, 2}), TargetScaling{{0}, {1}}));
  EXPECT_ERROR_WITH("the targets are Long, allowed: floating point",
                    scaled_targets(counted<std::int64_t>({3}), TargetScaling{{0}, {1}}));
}

}  // namespace
}  // namespace gradwise
