#include "gradwise/autograd/transforms/jvp.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <string_view>
#include <utility>

#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/autograd/transforms/recorded.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

void check_tangents(const char* place, const Tensors& primals, const Tensors& tangents) {
  GRADWISE_CHECK(!primals.empty(), place, "there is no primal");
  GRADWISE_CHECK(primals.size() == tangents.size(), place, "there are ", primals.size(), " primals and ",
                 tangents.size(), " tangents");
  for (std::size_t i = 0; i < primals.size(); ++i) {
    GRADWISE_CHECK(primals[i].is_floating_point(), place, "primal ", i, " has the type ", primals[i].scalar_type(),
                   ", allowed: floating types");
    GRADWISE_CHECK(tangents[i].defined() && primals[i].sizes() == tangents[i].sizes() &&
                       primals[i].scalar_type() == tangents[i].scalar_type(),
                   place, "tangent ", i, " is ", tangents[i].scalar_type(), " of the shape ", tangents[i].sizes(),
                   ", its primal ", primals[i].scalar_type(), " of the shape ", primals[i].sizes());
  }
}

// What LibTorch says where an operator, or a function in C++, has no forward derivative.
bool lacks_forward_derivative(std::string_view message) {
  constexpr std::string_view kPhrases[] = {"cannot use C++ torch::autograd::Function",
                                           "jvp is not implemented for the c++ API", "Trying to use forward AD with"};
  for (const std::string_view phrase : kPhrases) {
    if (message.find(phrase) != std::string_view::npos) {
      return true;
    }
  }
  return false;
}

Jvp forward_jvp(const char* place, const TensorFunction& function, const Tensors& primals, const Tensors& tangents,
                std::int64_t aux) {
  const JvpLayer layer;
  const c10::AutoFwGradMode forward_mode(true);
  Tensors duals;
  for (std::size_t i = 0; i < primals.size(); ++i) {
    duals.push_back(layer.dual(primals[i], tangents[i]));
  }
  const Tensors results = function(duals);
  GRADWISE_CHECK(aux >= 0 && std::ssize(results) > aux, place, "the function has ", results.size(),
                 " results, of which ", aux, " are aux, allowed: at least one that is not");
  Jvp found;
  const std::size_t outputs = results.size() - static_cast<std::size_t>(aux);
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (i < outputs) {
      GRADWISE_CHECK(results[i].is_floating_point(), place, "output ", i, " is not a floating-point tensor");
      found.tangents.push_back(layer.tangent(results[i]));
    }
    (i < outputs ? found.outputs : found.aux).push_back(layer.primal(results[i]));
  }
  return found;
}

// The transpose of the transpose: gradients are linear in the cotangents, whose coefficients are differentiated.
struct TransposedTwice {
  detail::Recorded recorded;
  Tensors cotangents;
  Tensors gradients;

  TransposedTwice(const char* place, const TensorFunction& function, const Tensors& primals, std::int64_t aux) {
    recorded = detail::record(place, function, primals, {.argnums = detail::all_arguments(primals.size()), .aux = aux});
    const at::AutoGradMode grad_mode(true);
    for (const at::Tensor& output : recorded.outputs) {
      cotangents.push_back(at::zeros_like(output.detach()).requires_grad_());
    }
    gradients = detail::pull_back(recorded, cotangents, /*create_graph=*/true);
  }

  [[nodiscard]] Tensors product(const Tensors& tangents) const {
    Tensors differentiable;
    Tensors weights;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      if (gradients[i].requires_grad()) {
        differentiable.push_back(gradients[i]);
        weights.push_back(tangents[i]);
      }
    }
    Tensors found(cotangents.size());
    if (!differentiable.empty()) {
      found = torch::autograd::grad(differentiable, cotangents, weights, /*retain_graph=*/true,
                                    detail::wants_graph(recorded, tangents), /*allow_unused=*/true);
    }
    return filled_with_zeros(std::move(found), recorded.values);
  }
};

Jvp jvp_at(const char* place, const TensorFunction& function, const Tensors& primals, const Tensors& tangents,
           std::int64_t aux) {
  GRADWISE_CHECK(function != nullptr, place, "there is no function");
  check_tangents(place, primals, tangents);
  try {
    return forward_jvp(place, function, primals, tangents, aux);
  } catch (const c10::Error& error) {
    if (inside_transform() || !lacks_forward_derivative(error.what_without_backtrace())) {
      throw;
    }
  }
  const TransposedTwice twice(place, function, primals, aux);
  return {twice.recorded.values, twice.product(tangents), twice.recorded.aux, /*forward_mode=*/false};
}

}  // namespace

Jvp jvp(const TensorFunction& function, const Tensors& primals, const Tensors& tangents, std::int64_t aux) {
  return jvp_at("jvp", function, primals, tangents, aux);
}

Linearized linearize(const TensorFunction& function, const Tensors& primals) {
  GRADWISE_CHECK(!inside_transform(), "linearize", "it can't be used inside of a transform, allowed: jvp");
  GRADWISE_CHECK(!primals.empty(), "linearize", "there is no primal");
  const auto twice = std::make_shared<const TransposedTwice>("linearize", function, primals, 0);
  return {twice->recorded.values, [twice, primals](const Tensors& tangents) {
            check_tangents("linearize", primals, tangents);
            return twice->product(tangents);
          }};
}

Hvp hvp(const TensorFunction& function, const Tensors& primals, const Tensors& vectors, HvpMode mode) {
  GRADWISE_CHECK(function != nullptr, "hvp", "there is no function");
  check_tangents("hvp", primals, vectors);
  const TransformOptions by_all{.argnums = detail::all_arguments(primals.size())};
  if (mode == HvpMode::forward_over_reverse) {
    const auto with_value = [&function, &by_all](const Tensors& arguments) {
      ValueAndGrad found = detail::value_and_grad_at("hvp", function, arguments, by_all);
      found.gradients.push_back(found.value);
      return std::move(found.gradients);
    };
    Jvp found = jvp_at("hvp", with_value, primals, vectors, /*aux=*/1);
    return {found.aux[0], std::move(found.outputs), std::move(found.tangents), found.forward_mode};
  }
  const detail::Recorded recorded = detail::record("hvp", function, primals, by_all);
  detail::check_scalar("hvp", recorded);
  const Tensors gradients = detail::pull_back(recorded, {at::ones_like(recorded.values[0])}, /*create_graph=*/true);
  const detail::Recorded again{recorded.inputs, gradients, gradients, {}, recorded.differentiable};
  Hvp found{recorded.values[0], gradients, detail::pull_back(again, vectors, detail::wants_graph(again, vectors))};
  if (!recorded.differentiable) {
    for (at::Tensor& gradient : found.gradients) {
      gradient = gradient.detach();
    }
  }
  return found;
}

}  // namespace gradwise
