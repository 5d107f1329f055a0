#pragma once

#include <cstdint>
#include <functional>

#include "gradwise/curvature/likelihood.h"
#include "gradwise/curvature/sample_scores.h"
#include "gradwise/curvature/target_draws.h"

namespace gradwise {

/// Vectors over the outputs of a mini-batch that stand for the inner matrix of its curvature: for each sample,
/// `weight` times the sum of their outer products is the matrix over its outputs. Pulled back to the parameters they
/// give J_nᵀ s (J_nᵀ s)ᵀ.
struct OutputVectors {
  std::int64_t count = 0;
  double weight = 1;
  std::function<at::Tensor(std::int64_t index)> vector = nullptr;  ///< in the output's shape, without a graph
};

/// The columns of the root of the Fisher matrix, as many as a sample has outputs: the matrix is exact.
[[nodiscard]] OutputVectors root_vectors(const Likelihood& likelihood, const at::Tensor& output, bool mean);

/// Scores at targets drawn, those that `Fisher` takes for the same seed.
[[nodiscard]] OutputVectors drawn_vectors(const Likelihood& likelihood, const at::Tensor& output, bool mean,
                                          TargetDraws& draws, std::int64_t batch_index);

/// The scores at the data's own targets. Errors of `place`: as sample_scores.
[[nodiscard]] OutputVectors score_vectors(const char* place, const LossFunction& loss_function,
                                          const at::Tensor& output, const Batch& batch, bool mean);

}  // namespace gradwise
