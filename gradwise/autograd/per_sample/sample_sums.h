#pragma once

#include <vector>

#include "gradwise/autograd/per_sample/sample_recording.h"

namespace gradwise {

/// Sums over the samples, of each parameter one of its shape; in float64, for the variance of samples that are nearly
/// the same is the small difference of two of them.
struct SampleSums {
  std::vector<at::Tensor> gradients;
  std::vector<at::Tensor> squares;  ///< of the gradients' squares
};

/// Where a parameter's gradients are outer products, so are their squares, and both sums are one matrix product
/// (Dangel, Kunstner and Hennig, "BackPACK", 2020, appendix A.1); else block by block.
[[nodiscard]] SampleSums sums_over_samples(SampleRecorder& recorder, const RecordedSamples& batch);

}  // namespace gradwise
