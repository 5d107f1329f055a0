#include "gradwise/autograd/transforms/jacobian.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/autograd/transforms/recorded.h"
#include "gradwise/autograd/transforms/vmap.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

// Rows start ... start + length of the identity, each in the shape of `like`.
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

// How many rows go into one chunk: what the caller says, else what fits the bound by the peak of a single row.
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

// All rows of the Jacobian of one recorded output, a tensor (rows, input shape...) for each input.
Tensors rows_of(const detail::Recorded& recorded, std::size_t output, const JacobianOptions& options) {
  const at::Tensor& value = recorded.values[output];
  const detail::Recorded alone{recorded.inputs, {recorded.outputs[output]}, {value}, {}, recorded.differentiable};
  const bool create_graph = recorded.differentiable;
  const TensorFunction pull = [&](const Tensors& cotangents) {
    return detail::pull_back(alone, cotangents, create_graph);
  };
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
Tensors rows_one_by_one_if_needed(const detail::Recorded& recorded, std::size_t output,
                                  const JacobianOptions& options) {
  try {
    return rows_of(recorded, output, options);
  } catch (const c10::Error&) {
    JacobianOptions single = options;
    single.chunk_size = 1;
    return rows_of(recorded, output, single);
  }
}

Tensors reverse_jacobian(const detail::Recorded& recorded, const JacobianOptions& options) {
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

// What forward mode finds by one argument.
struct Columns {
  Tensors derivatives;  // of each output: (input elements, output shape...)
  Tensors outputs;
  Tensors aux;
};

Columns columns_of(const TensorFunction& function, const Tensors& arguments, std::size_t which, const State& random,
                   const JacobianOptions& options) {
  const at::Tensor& argument = arguments[which];
  const std::int64_t numel = argument.numel();
  GRADWISE_CHECK(numel > 0, "jacobian", "argument ", which, " has no elements: forward mode has no columns, ",
                 "allowed: reverse mode");
  const TensorFunction of_one = [&](const Tensors& in) {
    Tensors all = arguments;
    all[which] = in[0];
    return function(all);
  };
  const TensorFunction column = [&](const Tensors& tangent) {
    const Jvp found = jvp(of_one, {argument}, tangent, options.aux);
    Tensors results = found.tangents;
    results.insert(results.end(), found.outputs.begin(), found.outputs.end());
    results.insert(results.end(), found.aux.begin(), found.aux.end());
    return results;
  };
  const std::int64_t chunk =
      chunk_length(options, numel, [&] { (void)column({unit_vectors(argument, 0, 1).squeeze(0)}); });
  Columns columns;
  std::vector<Tensors> parts;
  for (std::int64_t start = 0; start < numel; start += chunk) {
    set_random_state(random, argument.device());  // columns are of one function, whatever it draws
    const Tensors found =
        vmap(column, {.randomness = Randomness::same})({unit_vectors(argument, start, std::min(chunk, numel - start))});
    const std::size_t count = (found.size() - static_cast<std::size_t>(options.aux)) / 2;
    parts.resize(count);
    columns.outputs.clear();
    columns.aux.clear();
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (i < count) {
        parts[i].push_back(found[i]);
      } else {
        (i < 2 * count ? columns.outputs : columns.aux).push_back(found[i].select(0, 0));
      }
    }
  }
  for (const Tensors& part : parts) {
    columns.derivatives.push_back(at::cat(part));
  }
  return columns;
}

Tensors forward_jacobian(const TensorFunction& function, const Tensors& arguments, const JacobianOptions& options) {
  const std::vector<std::size_t> chosen = detail::positions("jacobian", {.argnums = options.argnums}, arguments.size());
  const State random = random_state(arguments[chosen.front()].device());
  std::vector<Columns> by_argument;
  for (const std::size_t which : chosen) {
    by_argument.push_back(columns_of(function, arguments, which, random, options));
  }
  const Columns& last = by_argument.back();
  Tensors results;
  for (std::size_t o = 0; o < last.outputs.size(); ++o) {
    for (std::size_t a = 0; a < chosen.size(); ++a) {
      const at::Tensor& argument = arguments[chosen[a]];
      const at::Tensor columns = by_argument[a].derivatives[o].reshape({argument.numel(), last.outputs[o].numel()});
      results.push_back(columns.t().reshape(joined_shape(last.outputs[o], argument)));
    }
  }
  results.insert(results.end(), last.aux.begin(), last.aux.end());
  return results;
}

std::int64_t elements(const Tensors& tensors) {
  std::int64_t sum = 0;
  for (const at::Tensor& tensor : tensors) {
    sum += tensor.numel();
  }
  return sum;
}

// Whether forward mode has fewer columns than reverse mode has rows, and has any by each input.
bool forward_is_shorter(const detail::Recorded& recorded) {
  return elements(recorded.values) > elements(recorded.inputs) &&
         std::none_of(recorded.inputs.begin(), recorded.inputs.end(),
                      [](const at::Tensor& input) { return input.numel() == 0; });
}

void check_function_and_chunks(const char* place, const TensorFunction& function, const JacobianOptions& options) {
  GRADWISE_CHECK(function != nullptr, place, "there is no function");
  GRADWISE_CHECK(!options.chunk_size || *options.chunk_size >= 1, place, "chunk_size is ",
                 options.chunk_size.value_or(0), ", allowed: >= 1");
  GRADWISE_CHECK(options.memory_bound >= 0, place, "memory_bound is ", options.memory_bound, ", allowed: >= 0");
}

}  // namespace

TensorFunction jacobian(TensorFunction function, JacobianOptions options) {
  check_function_and_chunks("jacobian", function, options);
  return [function = std::move(function), options = std::move(options)](const Tensors& arguments) {
    if (options.mode == JacobianMode::forward) {
      return forward_jacobian(function, arguments, options);
    }
    const detail::Recorded recorded =
        detail::record("jacobian", function, arguments, {.argnums = options.argnums, .aux = options.aux});
    if (options.mode == JacobianMode::automatic && forward_is_shorter(recorded)) {
      try {
        return forward_jacobian(function, arguments, options);
      } catch (const c10::Error&) {
        // an operator without a forward derivative: reverse mode has what it needs already
      }
    }
    return reverse_jacobian(recorded, options);
  };
}

TensorFunction hessian(TensorFunction function, HessianOptions options) {
  JacobianOptions rows{
      .argnums = std::move(options.argnums), .chunk_size = options.chunk_size, .memory_bound = options.memory_bound};
  check_function_and_chunks("hessian", function, rows);
  return [function = std::move(function), rows = std::move(rows)](const Tensors& arguments) {
    const detail::Recorded recorded = detail::record("hessian", function, arguments, {.argnums = rows.argnums});
    detail::check_scalar("hessian", recorded);
    const Tensors gradients = detail::pull_back(recorded, {at::ones_like(recorded.values[0])}, /*create_graph=*/true);
    const detail::Recorded slope{recorded.inputs, gradients, gradients, {}, recorded.differentiable};
    return reverse_jacobian(slope, rows);
  };
}

}  // namespace gradwise
