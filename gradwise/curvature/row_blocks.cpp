#include "gradwise/curvature/row_blocks.h"

#include <ATen/ops/cat.h>

#include <algorithm>

#include "gradwise/core/error.h"
#include "gradwise/core/nearest_name.h"

namespace gradwise {

std::int64_t RowBlock::size() const {
  std::int64_t sum = 0;
  for (const RowRange& range : rows) {
    sum += range.count;
  }
  return sum;
}

std::vector<RowBlock> parameter_blocks(const NamedParameters& parameters) {
  std::vector<RowBlock> blocks;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::int64_t count = parameters.tensors[i].numel();
    blocks.push_back({parameters.names[i], {{first, count}}});
    first += count;
  }
  return blocks;
}

std::vector<RowBlock> layer_blocks(const NamedParameters& parameters) {
  std::vector<RowBlock> layers;
  for (const RowBlock& parameter : parameter_blocks(parameters)) {
    const std::string name = layer_of(parameter.name);
    const auto found = std::ranges::find(layers, name, &RowBlock::name);
    if (found == layers.end()) {
      layers.push_back({name, parameter.rows});
    } else {
      found->rows.push_back(parameter.rows.front());
    }
  }
  return layers;
}

RowBlock matching_rows(const NamedParameters& parameters, const std::vector<std::string>& patterns) {
  const NamedParameters chosen = parameters.matching(patterns, "curvature");
  RowBlock block;
  for (const RowBlock& parameter : parameter_blocks(parameters)) {
    if (std::ranges::find(chosen.names, parameter.name) != chosen.names.end()) {
      block.rows.push_back(parameter.rows.front());
    }
  }
  return block;
}

at::Tensor rows_taken(const at::Tensor& columns, const RowBlock& block) {
  std::vector<at::Tensor> parts;
  for (const RowRange& range : block.rows) {
    parts.push_back(columns.narrow(0, range.first, range.count));
  }
  return at::cat(parts);
}

void put_rows(const at::Tensor& rows, const RowBlock& block, at::Tensor& columns) {
  std::int64_t done = 0;
  for (const RowRange& range : block.rows) {
    columns.narrow(0, range.first, range.count).copy_(rows.narrow(0, done, range.count));
    done += range.count;
  }
}

void check_blocks(const char* place, const std::vector<RowBlock>& blocks, std::int64_t size) {
  std::vector<RowRange> all;
  for (const RowBlock& block : blocks) {
    GRADWISE_CHECK(!block.rows.empty(), place, "the block \"", block.name, "\" has no rows");
    all.insert(all.end(), block.rows.begin(), block.rows.end());
  }
  GRADWISE_CHECK(!all.empty(), place, "there is no block");
  std::ranges::sort(all, {}, &RowRange::first);
  std::int64_t end = 0;
  for (const RowRange& range : all) {
    GRADWISE_CHECK(range.count >= 0 && range.first >= 0 && range.first + range.count <= size, place, "rows ",
                   range.first, " to ", range.first + range.count, ", allowed: within the ", size, " of the matrix");
    GRADWISE_CHECK(range.first >= end, place, "row ", range.first, " comes twice");
    end = range.first + range.count;
  }
}

}  // namespace gradwise
