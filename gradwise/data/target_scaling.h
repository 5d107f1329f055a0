#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "gradwise/core/batch.h"
#include "gradwise/data/dataset.h"

namespace gradwise {

/// How numbers to predict are scaled for a training: a target y of column k becomes (y - mean[k]) / stddev[k].
/// Empty: they stay as they are.
struct TargetScaling {
  std::vector<double> mean = {};
  std::vector<double> stddev = {};

  [[nodiscard]] bool empty() const { return mean.empty(); }
};

/// Mean and deviation (with divisor N) of each column of the targets, (N) or (N, K); give it the training data alone.
/// A column whose values are all the same has stddev 1, as in scikit-learn's StandardScaler.
/// Errors: targets that are not floating point, of another shape, or inf or NaN (the sample named).
///
///   const TargetScaling scaling = target_scaling_of(training);
///   training.targets = scaled_targets(training.targets, scaling);
[[nodiscard]] TargetScaling target_scaling_of(const Dataset& dataset);

/// The targets as they are trained on, in their own type, on their device. Errors: targets that are not floating point;
/// other columns than the scaling has.
[[nodiscard]] at::Tensor scaled_targets(const at::Tensor& targets, const TargetScaling& scaling);

/// Scaled targets, or outputs (N), (N, 1) or (N, K) of a model that was trained on them, in the data's own units:
/// float64, on their device.
[[nodiscard]] at::Tensor in_own_units(const at::Tensor& values, const TargetScaling& scaling);

/// Another source's batches with scaled targets, for data that are not at hand as a whole. Errors: no source; those of
/// scaled_targets.
class ScaledTargetSource : public BatchSource {
 public:
  ScaledTargetSource(std::unique_ptr<BatchSource> source, TargetScaling scaling);

  void start(std::int64_t epoch, std::int64_t position) override { source_->start(epoch, position); }
  bool next(Batch& batch) override;
  [[nodiscard]] std::int64_t batches_per_epoch() const override { return source_->batches_per_epoch(); }

 private:
  std::unique_ptr<BatchSource> source_;
  TargetScaling scaling_;
};

}  // namespace gradwise
