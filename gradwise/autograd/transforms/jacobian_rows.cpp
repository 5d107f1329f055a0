#include "gradwise/autograd/transforms/jacobian_rows.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/autograd/transforms/vmap.h"
#include "gradwise/core/error.h"

namespace gradwise::detail {

at::Tensor unit_vectors(const at::Tensor& like, std::int64_t start, std::int64_t length) {
  const at::Tensor rows = at::zeros({length, like.numel()}, like.options());
  rows.narrow(1, start, length).diagonal().fill_(1);
  at::DimVector shape(like.sizes());
  shape.insert(shape.begin(), length);
  return rows.view(shape);
}

at::DimVector joined_shape(const at::Tensor& first, const at::Tensor& second) {
  at::DimVector shape(first.sizes());
  shape.append(second.sizes().begin(), second.sizes().end());
  return shape;
}

std::int64_t chunk_length(const JacobianOptions& options, std::int64_t rows, const std::function<void()>& one_row) {
  if (options.chunk_size) {
    return *options.chunk_size;
  }
  if (options.memory_bound == 0 || rows <= 1) {
    return std::max<std::int64_t>(1, rows);
  }
  const PeakMemory memory;
  one_row();
  return std::max<std::int64_t>(1, options.memory_bound / std::max<std::int64_t>(1, memory.peak()));
}

namespace {

// All rows of the Jacobian of one recorded output, a tensor (rows, input shape...) for each input.
Tensors rows_of(const Recorded& recorded, std::size_t output, const JacobianOptions& options) {
  const at::Tensor& value = recorded.values[output];
  const Recorded alone{recorded.inputs, {recorded.outputs[output]}, {value}, {}, recorded.differentiable};
  const bool create_graph = recorded.differentiable;
  const TensorFunction pull = [&](const Tensors& cotangents) { return pull_back(alone, cotangents, create_graph); };
  const std::int64_t numel = value.numel();
  const std::int64_t chunk = chunk_length(options, numel, [&] { (void)pull({unit_vectors(value, 0, 1).squeeze(0)}); });
  std::vector<Tensors> parts(recorded.inputs.size());
  for (std::int64_t start = 0; start < numel; start += chunk) {
    const std::int64_t length = std::min(chunk, numel - start);
    const at::Tensor basis = unit_vectors(value, start, length);
    Tensors rows;
    if (length == 1) {
      rows = pull({basis.squeeze(0)});
      for (at::Tensor& row : rows) {
        row = row.unsqueeze(0);
      }
    } else {
      rows = vmap(pull)({basis});
    }
    for (std::size_t i = 0; i < rows.size(); ++i) {
      parts[i].push_back(rows[i]);
    }
  }
  Tensors joined;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].empty()) {
      joined.push_back(at::zeros(joined_shape(value.flatten(), recorded.inputs[i]), value.options()));
    } else {
      joined.push_back(parts[i].size() == 1 ? parts[i].front() : at::cat(parts[i]));
    }
  }
  return joined;
}

// A user's own backward may read values, which vmap can't give: then row by row.
Tensors rows_one_by_one_if_needed(const Recorded& recorded, std::size_t output, const JacobianOptions& options) {
  try {
    return rows_of(recorded, output, options);
  } catch (const c10::Error&) {
    JacobianOptions single = options;
    single.chunk_size = 1;
    return rows_of(recorded, output, single);
  }
}

}  // namespace

Tensors reverse_jacobian(const Recorded& recorded, const JacobianOptions& options) {
  Tensors results;
  for (std::size_t o = 0; o < recorded.values.size(); ++o) {
    const Tensors rows = rows_one_by_one_if_needed(recorded, o, options);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      results.push_back(rows[i].reshape(joined_shape(recorded.values[o], recorded.inputs[i])));
    }
  }
  results.insert(results.end(), recorded.aux.begin(), recorded.aux.end());
  return results;
}

Tensors hessian_of(const char* place, const Recorded& recorded, const JacobianOptions& rows) {
  check_scalar(place, recorded);
  const Tensors gradients = pull_back(recorded, {at::ones_like(recorded.values[0])}, /*create_graph=*/true);
  return reverse_jacobian({recorded.inputs, gradients, gradients, recorded.aux, recorded.differentiable}, rows);
}

void check_chunks(const char* place, const JacobianOptions& options) {
  GRADWISE_CHECK(!options.chunk_size || *options.chunk_size >= 1, place, "chunk_size is ",
                 options.chunk_size.value_or(0), ", allowed: >= 1");
  GRADWISE_CHECK(options.memory_bound >= 0, place, "memory_bound is ", options.memory_bound, ", allowed: >= 0");
}

}  // namespace gradwise::detail
