#include "gradwise/autograd/transforms/recorded.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "gradwise/autograd/functions/differentiable_gradients.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/graph_leaves.h"
#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/core/error.h"

namespace gradwise::detail {
namespace {

// Whether the graph of the outputs ends in other leaves than `own`: in parameters that the function has captured.
bool reaches_others(const Tensors& outputs, const Tensors& own) {
  const Tensors leaves = graph_leaves(outputs);
  return std::any_of(leaves.begin(), leaves.end(), [&own](const at::Tensor& leaf) {
    return std::none_of(own.begin(), own.end(), [&leaf](const at::Tensor& mine) { return mine.is_same(leaf); });
  });
}

// Splits off the aux results, and checks the rest.
void split_results(const char* place, Tensors results, std::int64_t aux, Tensors& outputs, Tensors& rest) {
  const auto middle = results.begin() + static_cast<std::ptrdiff_t>(count_outputs(place, results, aux));
  outputs.assign(results.begin(), middle);
  rest.assign(middle, results.end());
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    check_real(place, "output", i, outputs[i]);
  }
}

// What the caller sees of a function that ran outside of every layer.
void set_values(Recorded& recorded) {
  for (const at::Tensor& output : recorded.outputs) {
    recorded.values.push_back(recorded.differentiable ? output : output.detach());
  }
  for (at::Tensor& tensor : recorded.aux) {
    tensor = recorded.differentiable ? tensor : tensor.detach();
  }
}

}  // namespace

std::size_t count_outputs(const char* place, Tensors& results, std::int64_t aux) {
  if (aux == kMarkedAux) {
    const auto mark = std::ranges::find_if(results, [](const at::Tensor& tensor) { return !tensor.defined(); });
    GRADWISE_CHECK(mark != results.end(), place, "the function has ", results.size(),
                   " results, none of them undefined, allowed: an undefined tensor before the aux results");
    aux = results.end() - mark - 1;
    results.erase(mark);
  }
  GRADWISE_CHECK(aux >= 0 && std::ssize(results) > aux, place, "the function has ", results.size(),
                 " results, of which ", aux, " are aux, allowed: at least one that is not");
  return results.size() - static_cast<std::size_t>(aux);
}

std::vector<std::size_t> positions(const char* place, const TransformOptions& options, std::size_t arguments) {
  GRADWISE_CHECK(!options.argnums.empty(), place, "argnums is empty, allowed: at least one argument");
  const auto count = static_cast<std::int64_t>(arguments);
  std::vector<std::size_t> found;
  for (const std::int64_t argnum : options.argnums) {
    GRADWISE_CHECK(argnum >= -count && argnum < count, place, "argnums has ", argnum, ", the function has ", count,
                   " arguments");
    found.push_back(static_cast<std::size_t>(argnum < 0 ? argnum + count : argnum));
    GRADWISE_CHECK(std::count(found.begin(), found.end(), found.back()) == 1, place, "argnums has argument ",
                   found.back(), " twice");
  }
  return found;
}

Recorded record(const char* place, const TensorFunction& function, const Tensors& arguments,
                const TransformOptions& options) {
  GRADWISE_CHECK(function != nullptr, place, "there is no function");
  const std::vector<std::size_t> chosen = positions(place, options, arguments.size());
  for (const std::size_t i : chosen) {
    check_real(place, "argument", i, arguments[i]);
  }
  const bool outer_grad_mode = at::GradMode::is_enabled();
  Recorded recorded;
  Tensors inside = arguments;
  if (inside_transform()) {
    const GradLayer layer;
    const at::AutoGradMode grad_mode(true);
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const bool wanted = std::find(chosen.begin(), chosen.end(), i) != chosen.end();
      inside[i] = layer.wrap(arguments[i], wanted);
    }
    split_results(place, function(inside), options.aux, recorded.outputs, recorded.aux);
    for (const at::Tensor& output : recorded.outputs) {
      recorded.values.push_back(layer.unwrap(output));
    }
    for (at::Tensor& tensor : recorded.aux) {
      tensor = layer.unwrap(tensor);
    }
    recorded.differentiable = outer_grad_mode;
  } else {
    const at::AutoGradMode grad_mode(true);
    bool connected = false;
    for (const std::size_t i : chosen) {
      const at::Tensor& x = arguments[i];
      connected = connected || x.requires_grad();
      // A fresh leaf costs no graph; a view is still tied to what the argument came from.
      inside[i] = x.requires_grad() ? x.view_as(x) : x.detach().requires_grad_();
    }
    split_results(place, function(inside), options.aux, recorded.outputs, recorded.aux);
    check_goes_on(place, recorded.outputs);
    Tensors own;
    for (const std::size_t i : chosen) {
      own.push_back(inside[i]);
    }
    recorded.differentiable = outer_grad_mode && (connected || reaches_others(recorded.outputs, own));
    set_values(recorded);
  }
  for (const std::size_t i : chosen) {
    recorded.inputs.push_back(inside[i]);
  }
  return recorded;
}

Recorded record_captured(const char* place, const std::function<Tensors()>& function, const Tensors& inputs,
                         std::int64_t aux, bool nested) {
  const bool outer_grad_mode = at::GradMode::is_enabled();
  Recorded recorded;
  recorded.inputs = inputs;
  const at::AutoGradMode grad_mode(true);
  split_results(place, function(), aux, recorded.outputs, recorded.aux);
  check_goes_on(place, recorded.outputs);
  recorded.differentiable = outer_grad_mode && (nested || reaches_others(recorded.outputs, inputs));
  set_values(recorded);
  return recorded;
}

Tensors pull_back(const Recorded& recorded, const Tensors& cotangents, bool create_graph) {
  Tensors outputs;
  Tensors weights;
  for (std::size_t i = 0; i < recorded.outputs.size(); ++i) {
    if (recorded.outputs[i].requires_grad()) {
      outputs.push_back(recorded.outputs[i]);
      weights.push_back(cotangents[i]);
    }
  }
  Tensors found(recorded.inputs.size());
  if (!outputs.empty()) {
    found = differentiable_gradients(outputs, recorded.inputs, weights, create_graph);
  }
  return filled_with_zeros(std::move(found), recorded.inputs);
}

std::vector<std::int64_t> all_arguments(std::size_t arguments) {
  std::vector<std::int64_t> all(arguments);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

bool wants_graph(const Recorded& recorded, const Tensors& given) {
  return at::GradMode::is_enabled() &&
         (recorded.differentiable || inside_transform() ||
          std::any_of(given.begin(), given.end(), [](const at::Tensor& tensor) { return tensor.requires_grad(); }));
}

void check_real(const char* place, const char* name, std::size_t number, const at::Tensor& tensor) {
  GRADWISE_CHECK(!tensor.defined() || !tensor.is_complex(), place, name, ' ', number, " is of the complex type ",
                 tensor.scalar_type(), ", allowed: real floating types; torch.func takes complex ones");
  GRADWISE_CHECK(tensor.defined() && tensor.is_floating_point(), place, name, ' ', number,
                 " is not a floating-point tensor: it has no derivative");
}

void check_scalar(const char* place, const Recorded& recorded) {
  GRADWISE_CHECK(recorded.values.size() == 1 && recorded.values[0].dim() == 0, place, "the function has ",
                 recorded.values.size(), " outputs, the first of shape ", recorded.values[0].sizes(),
                 ", allowed: one scalar");
}

ValueAndGrad value_and_grad_at(const char* place, const TensorFunction& function, const Tensors& arguments,
                               const TransformOptions& options) {
  return value_and_grad_of(place, record(place, function, arguments, options));
}

ValueAndGrad value_and_grad_of(const char* place, Recorded recorded) {
  check_scalar(place, recorded);
  Tensors found = pull_back(recorded, {at::ones_like(recorded.values[0])}, recorded.differentiable);
  return {recorded.values[0], std::move(found), std::move(recorded.aux)};
}

}  // namespace gradwise::detail
