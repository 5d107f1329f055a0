#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace gradwise {

/// A data set in memory, in the type it was stored in. CPU tensors with the samples along dimension 0:
/// `inputs` uint8 images (N, C, H, W), rows of numbers (N, F), or tokens (N, T); `targets` class indices (N), numbers
/// (N) or (N, ...), or undefined where there are none.
struct Dataset {
  at::Tensor inputs;
  at::Tensor targets;
  std::vector<std::string> feature_names = {};  ///< one a column of `inputs`, or empty
  std::vector<std::string> class_names = {};    ///< one a class index, or empty

  [[nodiscard]] std::int64_t size() const { return inputs.defined() && inputs.dim() > 0 ? inputs.size(0) : 0; }
};

/// A data set from arrays; uint8 images (N, H, W) become (N, 1, H, W). Errors: different numbers of samples, a tensor
/// that is not on the CPU, a scalar.
[[nodiscard]] Dataset make_dataset(const at::Tensor& inputs, const at::Tensor& targets);

/// Throws an Error with the first sample whose class index is not from 0 to `classes` - 1, or where the targets are
/// not whole numbers.
void check_labels(const Dataset& dataset, std::int64_t classes);

/// A copy of these samples, in this order.
[[nodiscard]] Dataset subset(const Dataset& dataset, std::span<const std::int64_t> samples);

struct DatasetSplit {
  Dataset first;
  Dataset second;
};

/// Deals the samples at random into two: `fraction` (above 0, below 1) of them go to `first`, rounded to the nearest;
/// each part keeps their order. Depends on the seed alone. Errors: a part would be empty.
[[nodiscard]] DatasetSplit split(const Dataset& dataset, double fraction, std::int64_t seed);

}  // namespace gradwise
