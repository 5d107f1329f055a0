#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <cstdint>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "gradwise/autograd/per_sample/sample_layout.h"

namespace gradwise {

/// For a scope, arithmetic has its operands' types, whatever autocast the caller is under: squares and products of
/// gradients have no room in its types.
class WithoutAutocast {
 private:
  c10::impl::ExcludeDispatchKeyGuard guard_{c10::autocast_dispatch_keyset};
};

/// Memory that is taken again and again: fresh pages cost more than the arithmetic in them.
class ReusedMemory {
 public:
  /// A contiguous tensor of a purpose's memory. It holds what was in it, and is the caller's until the purpose's next.
  [[nodiscard]] at::Tensor take(std::size_t purpose, at::IntArrayRef shape, const at::TensorOptions& options);

 private:
  std::map<std::size_t, at::Tensor> flat_;
};

/// The gradients of an operand for every sample as a sum of outer products, left * right^T: of a matrix product's
/// weight (one group; rows and columns are inputs and outputs), of a convolution's weight (rows are output channels).
struct FactoredTerm {
  at::Tensor left;   ///< (samples, groups, rows, positions)
  at::Tensor right;  ///< (samples, groups, columns, positions); with `windows`: (samples, rows of it, channels, ...)
  struct Windows {   ///< how a convolution reads its input: the columns are what it sees at each position
    std::vector<std::int64_t> kernel;
    std::vector<std::int64_t> output;
    std::vector<std::int64_t> stride;
    std::vector<std::int64_t> padding;
    std::vector<std::int64_t> dilation;
    std::int64_t groups = 1;
  };
  std::optional<Windows> windows;

  [[nodiscard]] std::int64_t columns() const;
  /// One outer product a sample, as in a plain linear layer.
  [[nodiscard]] bool is_outer_product() const;
};

/// `right` of the samples from `first` on, its windows laid out: (count, groups, columns, positions). In the memory,
/// until the next windows are.
[[nodiscard]] at::Tensor columns_of(const FactoredTerm& term, std::int64_t first, std::int64_t count,
                                    ReusedMemory& memory);

/// The gradients themselves.
struct WholeTerm {
  at::Tensor gradients;  ///< (samples, shape of the operand...)
};

/// Rows that are added to a table.
struct TableTerm {
  at::Tensor indices;    ///< (samples, positions)
  at::Tensor gradients;  ///< (samples, positions, width)
};

using SampleTerm = std::variant<FactoredTerm, WholeTerm, TableTerm>;

/// What an operator adds to the gradients of an operand of the shape `shape`, for each sample; nullopt where the sizes
/// do not fit the layout.
[[nodiscard]] std::optional<SampleTerm> sample_term(const Operand& operand, const at::Tensor& output_gradient,
                                                    at::IntArrayRef shape, SampleLayout layout, std::int64_t samples);

/// Writes the gradients of the samples from `first` on to `place` (count, shape of the operand...), or adds them.
void write_term(const SampleTerm& term, std::int64_t first, const at::Tensor& place, bool add, ReusedMemory& memory);

/// Squared norms (samples), in float32 at least. Never makes the gradients where that is dearer: with one position,
/// |left|^2 |right|^2; with T positions the Gram matrices of the factors, sum_ts (left_t . left_s)(right_t . right_s)
/// (Goodfellow, "Efficient Per-Example Gradient Computations", 2015; Li et al., "Large Language Models Can Be Strong
/// Differentially Private Learners", 2022, section 4), where T (rows + columns) < rows * columns; else block by block.
[[nodiscard]] at::Tensor squared_norms(const SampleTerm& term, ReusedMemory& memory);

/// Squared norms of gradients (samples, ...), in float32 at least.
[[nodiscard]] at::Tensor squared_norms_of(const at::Tensor& gradients);

/// How many samples fit a block, where one takes `elements` numbers: about 8 MiB in float32.
[[nodiscard]] std::int64_t samples_in_block(std::int64_t elements);

}  // namespace gradwise
