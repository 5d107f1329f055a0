#pragma once

#include "gradwise/autograd/transforms/jacobian.h"
#include "gradwise/autograd/transforms/recorded.h"

namespace gradwise::detail {

/// Rows start ... start + length of the identity, each in the shape of `like`.
[[nodiscard]] at::Tensor unit_vectors(const at::Tensor& like, std::int64_t start, std::int64_t length);

/// The shape of `first` followed by that of `second`.
[[nodiscard]] at::DimVector joined_shape(const at::Tensor& first, const at::Tensor& second);

/// How many of `rows` are computed at once: what the options say, else what fits their bound by the peak of `one_row`.
[[nodiscard]] std::int64_t chunk_length(const JacobianOptions& options, std::int64_t rows,
                                        const std::function<void()>& one_row);

/// A tensor for each output and input, row by row, and then the aux results.
[[nodiscard]] Tensors reverse_jacobian(const Recorded& recorded, const JacobianOptions& options);

/// The same column by column, each by the transpose of the transpose.
[[nodiscard]] Tensors column_jacobian(const Recorded& recorded, const JacobianOptions& options);

/// Whether there are fewer columns than rows, and some for each input.
[[nodiscard]] bool columns_are_fewer(const Recorded& recorded);

/// The rows of the gradient's Jacobian, and then the aux results. Error: several outputs, or one that is no scalar.
[[nodiscard]] Tensors hessian_of(const char* place, const Recorded& recorded, const JacobianOptions& rows);

/// Errors: a chunk_size below 1, a negative memory_bound.
void check_chunks(const char* place, const JacobianOptions& options);

}  // namespace gradwise::detail
