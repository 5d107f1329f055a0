#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace gradwise {

/// The uniform numbers that targets are drawn by: those of each mini-batch one sample after the other, so that they do
/// not depend on how the data set is cut; kept for later visits.
class TargetDraws {
 public:
  TargetDraws(std::int64_t draws, std::int64_t seed);

  /// (n, draws, rest of `shape`), float64 in [0, 1), on the CPU. `shape`: as Likelihood::draw_shape gives it. First
  /// visits are to be in the order of the mini-batches.
  [[nodiscard]] const at::Tensor& of_batch(std::int64_t index, at::IntArrayRef shape);

 private:
  std::int64_t draws_;
  at::Generator generator_;
  std::vector<at::Tensor> batches_;
};

}  // namespace gradwise
