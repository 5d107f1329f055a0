#include "gradwise/autograd/transforms/jvp.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "gradwise/autograd/transforms/fallback.h"
#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/autograd/transforms/recorded.h"
#include "gradwise/autograd/transforms/recorded_twice.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// What LibTorch says where an operator, or a function of the user's own, has no forward derivative.
bool lacks_forward_derivative(std::string_view message) {
  constexpr std::string_view kPhrases[] = {"cannot use C++ torch::autograd::Function",
                                           "jvp is not implemented for the c++ API", "Trying to use forward AD with",
                                           "it must override the setup_context staticmethod",
                                           "You must implement the jvp function"};
  for (const std::string_view phrase : kPhrases) {
    if (message.find(phrase) != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

std::string first_line(const std::exception& error) {
  const std::string_view message = error.what();
  return std::string(message.substr(0, message.find('\n')));
}

Jvp forward_jvp(const char* place, const TensorFunction& function, const Tensors& primals, const Tensors& tangents,
                std::int64_t aux) {
  const JvpLayer layer;
  const c10::AutoFwGradMode forward_mode(true);
  Tensors duals;
  for (std::size_t i = 0; i < primals.size(); ++i) {
    duals.push_back(layer.dual(primals[i], tangents[i]));
  }
  Tensors results = function(duals);
  Jvp found;
  const std::size_t outputs = detail::count_outputs(place, results, aux);
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (i < outputs) {
      detail::check_real(place, "output", i, results[i]);
      found.tangents.push_back(layer.tangent(results[i]));
    }
    (i < outputs ? found.outputs : found.aux).push_back(layer.primal(results[i]));
  }
  return found;
}

Jvp jvp_at(const char* place, const TensorFunction& function, const Tensors& primals, const Tensors& tangents,
           std::int64_t aux) {
  GRADWISE_CHECK(function != nullptr, place, "there is no function");
  detail::check_tangents(place, primals, tangents);
  std::string reason;
  try {
    return forward_jvp(place, function, primals, tangents, aux);
  } catch (const std::exception& error) {  // a function in Python raises an exception of its own
    reason = first_line(error);
    if (inside_transform() || !lacks_forward_derivative(error.what()) || detail::is_interruption(error)) {
      throw;
    }
  }
  const detail::TransposedTwice twice(
      place, detail::record(place, function, primals, {.argnums = detail::all_arguments(primals.size()), .aux = aux}));
  return {twice.recorded.values, twice.product(tangents), twice.recorded.aux, /*forward_mode=*/false,
          std::move(reason)};
}

}  // namespace

Jvp jvp(const TensorFunction& function, const Tensors& primals, const Tensors& tangents, std::int64_t aux) {
  return jvp_at("jvp", function, primals, tangents, aux);
}

Linearized linearize(const TensorFunction& function, const Tensors& primals, std::int64_t aux) {
  GRADWISE_CHECK(function != nullptr, "linearize", "there is no function");
  GRADWISE_CHECK(!primals.empty(), "linearize", "there is no primal");
  if (inside_transform()) {
    Tensors zeros;
    for (const at::Tensor& primal : primals) {
      zeros.push_back(at::zeros_like(primal));
    }
    Jvp here = jvp_at("linearize", function, primals, zeros, aux);
    return {std::move(here.outputs),
            [function, primals, aux](const Tensors& tangents) {
              return jvp_at("linearize", function, primals, tangents, aux).tangents;
            },
            std::move(here.aux)};
  }
  return detail::linearized(
      detail::record("linearize", function, primals, {.argnums = detail::all_arguments(primals.size()), .aux = aux}),
      primals);
}

Hvp hvp(const TensorFunction& function, const Tensors& primals, const Tensors& vectors, HvpMode mode,
        std::int64_t aux) {
  GRADWISE_CHECK(function != nullptr, "hvp", "there is no function");
  detail::check_tangents("hvp", primals, vectors);
  const TransformOptions by_all{.argnums = detail::all_arguments(primals.size()), .aux = aux};
  if (mode == HvpMode::reverse_over_reverse) {
    return detail::hvp_of(detail::record("hvp", function, primals, by_all), vectors);
  }
  const auto with_value = [&function, &by_all](const Tensors& arguments) {
    ValueAndGrad found = detail::value_and_grad_at("hvp", function, arguments, by_all);
    found.gradients.emplace_back();  // the mark
    found.gradients.push_back(found.value);
    found.gradients.insert(found.gradients.end(), found.aux.begin(), found.aux.end());
    return std::move(found.gradients);
  };
  Jvp found = jvp_at("hvp", with_value, primals, vectors, kMarkedAux);
  Tensors rest(found.aux.begin() + 1, found.aux.end());
  return {found.aux[0], std::move(found.outputs), std::move(found.tangents), found.forward_mode, std::move(rest)};
}

}  // namespace gradwise
