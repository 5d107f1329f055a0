#include "gradwise/autograd/transforms/vjp.h"

#include <utility>

#include "gradwise/autograd/transforms/recorded.h"
#include "gradwise/core/error.h"

namespace gradwise {

Vjp vjp(const TensorFunction& function, const Tensors& primals, std::int64_t aux) {
  GRADWISE_CHECK(!primals.empty(), "vjp", "there is no primal");
  return detail::vjp_of(
      detail::record("vjp", function, primals, {.argnums = detail::all_arguments(primals.size()), .aux = aux}));
}

Vjp detail::vjp_of(Recorded recorded) {
  const auto pull = [recorded](const Tensors& cotangents) {
    GRADWISE_CHECK(cotangents.size() == recorded.values.size(), "vjp", "there are ", recorded.values.size(),
                   " outputs and ", cotangents.size(), " cotangents");
    for (std::size_t i = 0; i < cotangents.size(); ++i) {
      GRADWISE_CHECK(cotangents[i].sizes() == recorded.values[i].sizes(), "vjp", "cotangent ", i, " has the shape ",
                     cotangents[i].sizes(), ", its output ", recorded.values[i].sizes());
    }
    return pull_back(recorded, cotangents, wants_graph(recorded, cotangents));
  };
  return {std::move(recorded.values), std::move(recorded.aux), pull};
}

std::function<ValueAndGrad(const Tensors&)> value_and_grad(TensorFunction function, TransformOptions options) {
  return [function = std::move(function), options = std::move(options)](const Tensors& arguments) {
    return detail::value_and_grad_at("value_and_grad", function, arguments, options);
  };
}

TensorFunction grad(TensorFunction function, TransformOptions options) {
  return [function = std::move(function), options = std::move(options)](const Tensors& arguments) {
    ValueAndGrad found = detail::value_and_grad_at("grad", function, arguments, options);
    found.gradients.insert(found.gradients.end(), found.aux.begin(), found.aux.end());
    return std::move(found.gradients);
  };
}

}  // namespace gradwise
