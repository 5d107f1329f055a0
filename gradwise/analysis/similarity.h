#pragma once

#include <ATen/core/Tensor.h>

#include "gradwise/analysis/gradient_analysis.h"

namespace gradwise {

/// Cosines between the rows of a matrix (n x P), n x n in float64; NaN for rows of length 0.
[[nodiscard]] at::Tensor row_cosines(const at::Tensor& rows);

/// arccos, with the cosine clamped to [-1, 1].
[[nodiscard]] Angle angle_of(double cosine);

/// Mean, widest and conflicting angles over the pairs of an n x n matrix of cosines.
void fill_pair_angles(const at::Tensor& cosines, double threshold, GradientAngles& angles);

/// The noise scale of gradients of `samples` samples each, a row each, and its standard error: the jackknife's, of the
/// ratio to first order (Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", 1982, chapter 6), known
/// wherever the scale is and there are three rows.
struct NoiseEstimate {
  double scale = kNotMeasured;
  double error = kNotMeasured;
};
[[nodiscard]] NoiseEstimate noise_scale_of(const at::Tensor& rows, std::int64_t samples);

/// Diversity, confusion and noise scale of the gradients of micro-batches, a row each.
void fill_correlation(const at::Tensor& rows, std::int64_t samples, GradientCorrelation& correlation);

}  // namespace gradwise
