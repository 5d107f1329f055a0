#include "gradwise/autograd/transforms/jacobian.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <utility>

#include "gradwise/autograd/transforms/fallback.h"
#include "gradwise/autograd/transforms/jacobian_rows.h"
#include "gradwise/autograd/transforms/jvp.h"
#include "gradwise/autograd/transforms/recorded.h"
#include "gradwise/autograd/transforms/vmap.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

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
  std::size_t aux = 0;
  const TensorFunction column = [&](const Tensors& tangent) {
    const Jvp found = jvp(of_one, {argument}, tangent, options.aux);
    aux = found.aux.size();
    Tensors results = found.tangents;
    results.insert(results.end(), found.outputs.begin(), found.outputs.end());
    results.insert(results.end(), found.aux.begin(), found.aux.end());
    return results;
  };
  const std::int64_t chunk =
      detail::chunk_length(options, numel, [&] { (void)column({detail::unit_vectors(argument, 0, 1).squeeze(0)}); });
  Columns columns;
  std::vector<Tensors> parts;
  for (std::int64_t start = 0; start < numel; start += chunk) {
    if (options.randomness == Randomness::same) {
      set_random_state(random, argument.device());  // columns are of one function, whatever it draws
    }
    const Tensors found = vmap(column, {.randomness = options.randomness})(
        {detail::unit_vectors(argument, start, std::min(chunk, numel - start))});
    const std::size_t count = (found.size() - aux) / 2;
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
      results.push_back(columns.t().reshape(detail::joined_shape(last.outputs[o], argument)));
    }
  }
  results.insert(results.end(), last.aux.begin(), last.aux.end());
  return results;
}

void check_function_and_chunks(const char* place, const TensorFunction& function, const JacobianOptions& options) {
  GRADWISE_CHECK(function != nullptr, place, "there is no function");
  detail::check_chunks(place, options);
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
    if (options.mode == JacobianMode::automatic && detail::columns_are_fewer(recorded)) {
      // Reverse mode has what it needs already, where an operator has no forward derivative.
      return detail::first_or_else([&] { return forward_jacobian(function, arguments, options); },
                                   [&] { return detail::reverse_jacobian(recorded, options); });
    }
    return detail::reverse_jacobian(recorded, options);
  };
}

TensorFunction hessian(TensorFunction function, HessianOptions options) {
  JacobianOptions rows{.argnums = std::move(options.argnums),
                       .aux = options.aux,
                       .chunk_size = options.chunk_size,
                       .memory_bound = options.memory_bound};
  check_function_and_chunks("hessian", function, rows);
  return [function = std::move(function), rows = std::move(rows)](const Tensors& arguments) {
    return detail::hessian_of(
        "hessian", detail::record("hessian", function, arguments, {.argnums = rows.argnums, .aux = rows.aux}), rows);
  };
}

}  // namespace gradwise
