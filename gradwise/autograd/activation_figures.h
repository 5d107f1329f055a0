#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "gradwise/autograd/saved_activation.h"
#include "gradwise/core/reading.h"

namespace gradwise {

/// Figures of many activations and batch norms, computed on their own device and fetched together by `finish`.
class ActivationFigures {
 public:
  /// `channels`: units are the indices of dimension 1, else those of the last dimension.
  void add(const SavedActivation& saved, bool channels);
  void add(const SavedBatchNorm& saved);

  /// Fills in the figures, in the order of the calls of `add`.
  void finish(std::vector<ActivationReading>& activations, std::vector<BatchNormReading>& batch_norms);

 private:
  std::vector<at::Tensor> activations_;  // six numbers each: zeros, dead, saturated, non-finite, mean, variance
  std::vector<at::Tensor> batch_norms_;  // two numbers each
};

}  // namespace gradwise
