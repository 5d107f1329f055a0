#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "gradwise/autograd/per_sample/recorded_operand.h"

namespace gradwise {

/// Where the samples are in an operator's output.
enum class SampleLayout {
  leading,      ///< dimension 0, the rows of a sample next to each other: (samples * rows, ...)
  interleaved,  ///< dimension 0, row by row: (rows * samples, ...), as sequences (time, batch, ...) are flattened
  second        ///< dimension 1: (rows, samples, ...)
};

/// The tensor as (samples, rows, ...), a view of it.
[[nodiscard]] at::Tensor arranged(const at::Tensor& tensor, SampleLayout layout, std::int64_t samples);

/// The gradient of an operator's output as the operand's rule sees it.
[[nodiscard]] at::Tensor seen_by(const Operand& operand, const at::Tensor& output_gradient);

/// The layouts that a gradient's shape allows, those that are most likely first.
[[nodiscard]] std::vector<SampleLayout> possible_layouts(const Operand& operand, const at::Tensor& gradient,
                                                         std::int64_t samples);

/// Whether the rows belong to the samples as the layout says: `gradient` is of the sum of the samples' losses,
/// `weighted_gradient` of their sum weighted by `weights` (samples). By linearity the rows of a sample must be weighted
/// by its weight, and are not where samples mix. Compared in norm, to 1e-9 in float64, 1e-4 in float32, 3e-2 below.
[[nodiscard]] bool is_laid_out(const at::Tensor& gradient, const at::Tensor& weighted_gradient,
                               const at::Tensor& weights, SampleLayout layout);

}  // namespace gradwise
