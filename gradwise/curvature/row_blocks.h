#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gradwise/core/named_parameters.h"

namespace gradwise {

/// Rows first ... first + count of a matrix.
struct RowRange {
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// Rows that belong together.
struct RowBlock {
  std::string name;
  std::vector<RowRange> rows;
  /// Their number.
  [[nodiscard]] std::int64_t size() const;
};

/// The rows of each parameter of an operator, by its name.
[[nodiscard]] std::vector<RowBlock> parameter_blocks(const NamedParameters& parameters);
/// The rows of each layer: of the parameters whose names are the same up to the last dot.
[[nodiscard]] std::vector<RowBlock> layer_blocks(const NamedParameters& parameters);
/// The rows of the parameters whose names match one of the patterns. Errors: as NamedParameters::matching, of place
/// "curvature".
[[nodiscard]] RowBlock matching_rows(const NamedParameters& parameters, const std::vector<std::string>& patterns);

/// The block's rows of columns (n, k), in the block's order.
[[nodiscard]] at::Tensor rows_taken(const at::Tensor& columns, const RowBlock& block);
/// Writes rows to their place in columns (n, k).
void put_rows(const at::Tensor& rows, const RowBlock& block, at::Tensor& columns);
/// Errors of `place`: no row, rows beyond a matrix of `size` rows, rows that come twice.
void check_blocks(const char* place, const std::vector<RowBlock>& blocks, std::int64_t size);

}  // namespace gradwise
