#include "gradwise/autograd/transforms/vmap.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <utility>

#include "gradwise/autograd/transforms/batching_rules.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"

namespace gradwise {
namespace {

using Dims = std::vector<std::optional<std::int64_t>>;

// The dimensions counted from the front, and how long they are.
std::int64_t checked_batch_size(const Tensors& arguments, Dims& dims) {
  if (dims.empty()) {
    dims.assign(arguments.size(), 0);
  }
  GRADWISE_CHECK(dims.size() == arguments.size(), "vmap", "in_dims has ", dims.size(), " entries for ",
                 arguments.size(), " arguments");
  std::optional<std::int64_t> batch;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!dims[i]) {
      continue;
    }
    const std::int64_t dim = arguments[i].dim();
    GRADWISE_CHECK(*dims[i] >= -dim && *dims[i] < dim, "vmap", "in_dims of argument ", i, " is ", *dims[i],
                   ", the argument has the shape ", arguments[i].sizes());
    dims[i] = *dims[i] < 0 ? *dims[i] + dim : *dims[i];
    const std::int64_t size = arguments[i].size(*dims[i]);
    GRADWISE_CHECK(!batch || *batch == size, "vmap", "argument ", i, " has ", size, " slices, those before have ",
                   batch.value_or(0));
    batch = size;
  }
  GRADWISE_CHECK(batch.has_value(), "vmap", "no argument is gone over: every entry of in_dims is empty");
  return *batch;
}

Tensors run_batch(const TensorFunction& function, const Tensors& arguments, const Dims& dims, std::int64_t batch,
                  const VmapOptions& options) {
  detail::load_batching_rules();
  const VmapLayer layer(batch, options.randomness);
  Tensors hidden;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    hidden.push_back(dims[i] ? layer.hide(arguments[i], *dims[i]) : arguments[i]);
  }
  Tensors results = function(hidden);
  GRADWISE_CHECK(options.out_dims.size() == 1 || options.out_dims.size() == results.size(), "vmap", "out_dims has ",
                 options.out_dims.size(), " entries for ", results.size(), " results");
  for (std::size_t i = 0; i < results.size(); ++i) {
    results[i] = layer.show(results[i], options.out_dims[options.out_dims.size() == 1 ? 0 : i]);
  }
  return results;
}

Tensors run_chunks(const TensorFunction& function, const Tensors& arguments, const Dims& dims, std::int64_t batch,
                   const VmapOptions& options) {
  const std::int64_t chunk = *options.chunk_size;
  const auto gone_over = std::find_if(dims.begin(), dims.end(), [](const auto& dim) { return dim.has_value(); });
  const at::Device device = arguments[static_cast<std::size_t>(gone_over - dims.begin())].device();
  const bool draws_once = options.randomness == Randomness::same;
  const State random = draws_once ? random_state(device) : State{};
  std::vector<Tensors> parts;  // one list a result
  for (std::int64_t start = 0; start < batch; start += chunk) {
    const std::int64_t length = std::min(chunk, batch - start);
    Tensors slices;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      slices.push_back(dims[i] ? arguments[i].narrow(*dims[i], start, length) : arguments[i]);
    }
    if (draws_once && start > 0) {
      set_random_state(random, device);  // each chunk draws the same
    }
    const Tensors results = run_batch(function, slices, dims, length, options);
    parts.resize(results.size());
    for (std::size_t i = 0; i < results.size(); ++i) {
      parts[i].push_back(results[i]);
    }
  }
  Tensors joined;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    joined.push_back(at::cat(parts[i], options.out_dims[options.out_dims.size() == 1 ? 0 : i]));
  }
  return joined;
}

}  // namespace

TensorFunction vmap(TensorFunction function, VmapOptions options) {
  GRADWISE_CHECK(function != nullptr, "vmap", "there is no function");
  GRADWISE_CHECK(!options.chunk_size || *options.chunk_size >= 1, "vmap", "chunk_size is ",
                 options.chunk_size.value_or(0), ", allowed: >= 1");
  return [function = std::move(function), options = std::move(options)](const Tensors& arguments) {
    Dims dims = options.in_dims;
    const std::int64_t batch = checked_batch_size(arguments, dims);
    if (options.chunk_size && *options.chunk_size < batch) {
      return run_chunks(function, arguments, dims, batch, options);
    }
    return run_batch(function, arguments, dims, batch, options);
  };
}

}  // namespace gradwise
