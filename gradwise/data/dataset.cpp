#include "gradwise/data/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gradwise/core/error.h"
#include "gradwise/data/new_tensor.h"
#include "gradwise/data/shuffle.h"

namespace gradwise {
namespace {

at::Tensor rows(const at::Tensor& tensor, std::span<const std::int64_t> samples) {
  if (!tensor.defined()) {
    return {};
  }
  const at::Tensor source = tensor.contiguous();
  std::vector<std::int64_t> shape = source.sizes().vec();
  const std::size_t row_bytes = shape[0] == 0 ? 0 : source.nbytes() / static_cast<std::size_t>(shape[0]);
  shape[0] = static_cast<std::int64_t>(samples.size());
  at::Tensor result = new_tensor(shape, source.scalar_type());
  if (row_bytes == 0) {
    return result;
  }
  const char* from = static_cast<const char*>(source.const_data_ptr());
  char* to = static_cast<char*>(result.mutable_data_ptr());
  for (const std::int64_t sample : samples) {
    std::memcpy(to, from + static_cast<std::size_t>(sample) * row_bytes, row_bytes);
    to += row_bytes;
  }
  return result;
}

}  // namespace

Dataset make_dataset(const at::Tensor& inputs, const at::Tensor& targets) {
  GRADWISE_CHECK(inputs.defined() && inputs.dim() > 0, "dataset", "inputs have no dimension for the samples");
  GRADWISE_CHECK(inputs.is_cpu(), "dataset", "inputs are on ", inputs.device().str(), ", allowed: cpu");
  if (targets.defined()) {
    GRADWISE_CHECK(targets.is_cpu(), "dataset", "targets are on ", targets.device().str(), ", allowed: cpu");
    GRADWISE_CHECK(targets.dim() > 0 && targets.size(0) == inputs.size(0), "dataset", "inputs have shape ",
                   inputs.sizes(), ", targets ", targets.sizes(), ", allowed: the same number of samples");
  }
  const bool grey_images = inputs.scalar_type() == at::kByte && inputs.dim() == 3;
  Dataset dataset;
  dataset.inputs = (grey_images ? inputs.unsqueeze(1) : inputs).contiguous();
  dataset.targets = targets.defined() ? targets.contiguous() : targets;
  return dataset;
}

void check_labels(const Dataset& dataset, std::int64_t classes) {
  GRADWISE_CHECK(dataset.targets.defined(), "dataset", "there are no targets, allowed: class indices");
  GRADWISE_CHECK(at::isIntegralType(dataset.targets.scalar_type(), /*includeBool=*/true), "dataset", "targets are ",
                 dataset.targets.scalar_type(), ", allowed: whole numbers, as class indices");
  const at::Tensor labels = dataset.targets.to(at::kLong).contiguous();
  const std::int64_t* label = labels.const_data_ptr<std::int64_t>();
  const std::int64_t per_sample = std::max<std::int64_t>(1, labels.size(0) == 0 ? 1 : labels.numel() / labels.size(0));
  for (std::int64_t i = 0; i < labels.numel(); ++i) {
    GRADWISE_CHECK(label[i] >= 0 && label[i] < classes, "dataset", "the label of sample ", i / per_sample, " is ",
                   label[i], ", allowed: from 0 to ", classes - 1);
  }
}

Dataset subset(const Dataset& dataset, std::span<const std::int64_t> samples) {
  for (const std::int64_t sample : samples) {
    GRADWISE_CHECK(sample >= 0 && sample < dataset.size(), "dataset", "there is no sample ", sample,
                   ", allowed: from 0 to ", dataset.size() - 1);
  }
  Dataset part;
  part.inputs = rows(dataset.inputs, samples);
  part.targets = rows(dataset.targets, samples);
  part.feature_names = dataset.feature_names;
  part.class_names = dataset.class_names;
  return part;
}

DatasetSplit split(const Dataset& dataset, double fraction, std::int64_t seed) {
  GRADWISE_CHECK(fraction > 0 && fraction < 1, "dataset", "fraction is ", fraction, ", allowed: above 0, below 1");
  const std::int64_t size = dataset.size();
  const std::int64_t first = std::llround(fraction * static_cast<double>(size));
  GRADWISE_CHECK(first > 0 && first < size, "dataset", "a fraction of ", fraction, " splits ", size, " samples into ",
                 first, " and ", size - first, ", allowed: at least one in each part");
  std::vector<std::int64_t> order = shuffled_order(size, stream_key(seed, 0, Stream::split));
  std::sort(order.begin(), order.begin() + first);
  std::sort(order.begin() + first, order.end());
  const std::span<const std::int64_t> all(order);
  const auto cut = static_cast<std::size_t>(first);
  return {subset(dataset, all.first(cut)), subset(dataset, all.subspan(cut))};
}

}  // namespace gradwise
