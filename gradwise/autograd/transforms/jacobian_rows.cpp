#include "gradwise/autograd/transforms/jacobian_rows.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "gradwise/autograd/functions/differentiable_gradients.h"
#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/autograd/transforms/fallback.h"
#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/autograd/transforms/recorded_twice.h"
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

// A linear function of every unit vector in the shape of `like`: (elements, result shape...) for each of its results;
// none where there is no element. It pulls back through `pulled`, if anything, with a graph.
Tensors of_units(const TensorFunction& linear, const at::Tensor& like, const Tensors& pulled,
                 const JacobianOptions& options) {
  const std::int64_t numel = like.numel();
  const std::int64_t chunk = chunk_length(options, numel, [&] { (void)linear({unit_vectors(like, 0, 1).squeeze(0)}); });
  std::vector<Tensors> parts;
  for (std::int64_t start = 0; start < numel; start += chunk) {
    const std::int64_t length = std::min(chunk, numel - start);
    at::Tensor basis = unit_vectors(like, start, length);
    if (!pulled.empty()) {
      basis = with_starts(pulled, {basis}).front();
    }
    Tensors found;
    if (length == 1) {
      found = linear({basis.squeeze(0)});
      for (at::Tensor& one : found) {
        one = one.unsqueeze(0);
      }
    } else {
      found = vmap(linear)({basis});
    }
    parts.resize(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      parts[i].push_back(found[i]);
    }
  }
  Tensors joined;
  for (const Tensors& part : parts) {
    joined.push_back(part.size() == 1 ? part.front() : at::cat(part));
  }
  return joined;
}

// A user's own backward may read values, which vmap can't give: then one by one.
Tensors of_units_one_by_one_if_needed(const TensorFunction& linear, const at::Tensor& like, const Tensors& pulled,
                                      const JacobianOptions& options) {
  return first_or_else([&] { return of_units(linear, like, pulled, options); },
                       [&] {
                         JacobianOptions single = options;
                         single.chunk_size = 1;
                         return of_units(linear, like, pulled, single);
                       });
}

std::int64_t elements(const Tensors& tensors) {
  std::int64_t sum = 0;
  for (const at::Tensor& tensor : tensors) {
    sum += tensor.numel();
  }
  return sum;
}

}  // namespace

Tensors reverse_jacobian(const Recorded& recorded, const JacobianOptions& options) {
  Tensors results;
  for (std::size_t o = 0; o < recorded.values.size(); ++o) {
    const at::Tensor& value = recorded.values[o];
    const Recorded alone{recorded.inputs, {recorded.outputs[o]}, {value}, {}, recorded.differentiable};
    const TensorFunction pull = [&alone](const Tensors& cotangents) {
      return pull_back(alone, cotangents, /*create_graph=*/alone.differentiable);
    };
    const bool with_graph = alone.differentiable && !inside_transform();
    const Tensors rows = of_units_one_by_one_if_needed(pull, value, with_graph ? alone.outputs : Tensors{}, options);
    for (std::size_t i = 0; i < recorded.inputs.size(); ++i) {
      const at::DimVector shape = joined_shape(value, recorded.inputs[i]);
      results.push_back(rows.empty() ? at::zeros(shape, value.options()) : rows[i].reshape(shape));
    }
  }
  results.insert(results.end(), recorded.aux.begin(), recorded.aux.end());
  return results;
}

Tensors column_jacobian(const Recorded& recorded, const JacobianOptions& options) {
  const TransposedTwice twice("jacobian", recorded);
  const at::AutoGradMode graph_of_columns(recorded.differentiable);
  std::vector<Tensors> by_input;
  for (std::size_t i = 0; i < recorded.inputs.size(); ++i) {
    const TensorFunction push = [&twice, i](const Tensors& tangent) {
      Tensors tangents;
      for (const at::Tensor& input : twice.recorded.inputs) {
        tangents.push_back(at::zeros_like(input));
      }
      tangents[i] = tangent[0];
      return twice.product(tangents);
    };
    by_input.push_back(of_units_one_by_one_if_needed(push, recorded.inputs[i], {}, options));
  }
  Tensors results;
  for (std::size_t o = 0; o < recorded.values.size(); ++o) {
    const at::Tensor& value = recorded.values[o];
    for (std::size_t i = 0; i < recorded.inputs.size(); ++i) {
      const at::DimVector shape = joined_shape(value, recorded.inputs[i]);
      const Tensors& columns = by_input[i];
      results.push_back(columns.empty()
                            ? at::zeros(shape, value.options())
                            : columns[o].reshape({recorded.inputs[i].numel(), value.numel()}).t().reshape(shape));
    }
  }
  results.insert(results.end(), recorded.aux.begin(), recorded.aux.end());
  return results;
}

bool columns_are_fewer(const Recorded& recorded) {
  return elements(recorded.values) > elements(recorded.inputs) &&
         std::none_of(recorded.inputs.begin(), recorded.inputs.end(),
                      [](const at::Tensor& input) { return input.numel() == 0; });
}

Tensors hessian_of(const char* place, const Recorded& recorded, const JacobianOptions& rows) {
  check_scalar(place, recorded);
  const Tensors gradients = pull_back(recorded, {at::ones_like(recorded.values[0])}, /*create_graph=*/true);
  check_goes_on(place, gradients);
  return reverse_jacobian({recorded.inputs, gradients, gradients, recorded.aux, recorded.differentiable}, rows);
}

void check_chunks(const char* place, const JacobianOptions& options) {
  GRADWISE_CHECK(!options.chunk_size || *options.chunk_size >= 1, place, "chunk_size is ",
                 options.chunk_size.value_or(0), ", allowed: >= 1");
  GRADWISE_CHECK(options.memory_bound >= 0, place, "memory_bound is ", options.memory_bound, ", allowed: >= 0");
}

}  // namespace gradwise::detail
