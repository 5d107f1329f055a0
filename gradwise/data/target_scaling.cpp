#include "gradwise/data/target_scaling.h"

#include <ATen/ops/tensor.h>

#include <utility>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

constexpr const char* kTargetPlace = "target scaling";

// Targets as columns (N, K) of float64.
at::Tensor columns_of(const at::Tensor& targets) { return targets.to(at::kDouble).reshape({targets.size(0), -1}); }

std::vector<double> numbers_of(const at::Tensor& values) {
  const at::Tensor plain = values.contiguous();
  const double* first = plain.const_data_ptr<double>();
  return {first, first + plain.numel()};
}

at::Tensor on_device_of(const at::Tensor& values, const std::vector<double>& numbers) {
  return at::tensor(numbers, at::kDouble).to(values.device());
}

}  // namespace

TargetScaling target_scaling_of(const Dataset& dataset) {
  const at::Tensor& targets = dataset.targets;
  GRADWISE_CHECK(targets.defined() && targets.is_floating_point(), kTargetPlace, "the targets are ",
                 targets.defined() ? "whole numbers" : "not there", ", allowed: floating point");
  GRADWISE_CHECK((targets.dim() == 1 || targets.dim() == 2) && targets.size(0) > 0, kTargetPlace,
                 "the targets have shape ", targets.sizes(), ", allowed: (N) or (N, K), at least one sample");
  const at::Tensor columns = columns_of(targets);
  const at::Tensor broken = columns.isfinite().logical_not().any(1).nonzero();
  if (broken.size(0) > 0) {
    fail_usage(kTargetPlace, "the target of sample ", broken[0][0].item<std::int64_t>(), " is inf or NaN");
  }
  const at::Tensor mean = columns.mean(0);
  const at::Tensor deviation = columns.sub(mean).square().mean(0).sqrt();
  // By the values themselves: the mean of equal numbers may be off by a rounding, and the deviation is not 0 then.
  const at::Tensor constant = columns.amin(0).eq(columns.amax(0));
  return {numbers_of(mean), numbers_of(deviation.masked_fill(constant, 1))};
}

at::Tensor scaled_targets(const at::Tensor& targets, const TargetScaling& scaling) {
  GRADWISE_CHECK(targets.is_floating_point(), kTargetPlace, "the targets are ", targets.scalar_type(),
                 ", allowed: floating point");
  const auto wanted = static_cast<std::int64_t>(scaling.mean.size());
  const std::int64_t columns = targets.dim() == 2 ? targets.size(1) : 1;
  GRADWISE_CHECK(targets.dim() <= 2 && columns == wanted, kTargetPlace, "the targets have shape ", targets.sizes(),
                 ", allowed: ", wanted, wanted == 1 ? " column" : " columns");
  const at::Tensor scaled =
      columns_of(targets).sub(on_device_of(targets, scaling.mean)).div(on_device_of(targets, scaling.stddev));
  return scaled.reshape(targets.sizes()).to(targets.scalar_type());
}

at::Tensor in_own_units(const at::Tensor& values, const TargetScaling& scaling) {
  return values.to(at::kDouble).mul(on_device_of(values, scaling.stddev)).add(on_device_of(values, scaling.mean));
}

ScaledTargetSource::ScaledTargetSource(std::unique_ptr<BatchSource> source, TargetScaling scaling)
    : source_(std::move(source)), scaling_(std::move(scaling)) {
  GRADWISE_CHECK(source_ != nullptr, kTargetPlace, "there is no source of batches");
}

bool ScaledTargetSource::next(Batch& batch) {
  if (!source_->next(batch)) {
    return false;
  }
  batch.target = scaled_targets(batch.target, scaling_);
  return true;
}

}  // namespace gradwise
