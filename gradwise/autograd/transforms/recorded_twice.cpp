#include "gradwise/autograd/transforms/recorded_twice.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones_like.h>

#include <memory>
#include <utility>

#include "gradwise/autograd/functions/differentiable_gradients.h"
#include "gradwise/autograd/functions/gradients.h"
#include "gradwise/autograd/functions/linear_backward.h"
#include "gradwise/core/error.h"

namespace gradwise::detail {

TransposedTwice::TransposedTwice(const char* place, Recorded of) : recorded(std::move(of)) {
  const at::AutoGradMode grad_mode(true);
  for (const at::Tensor& output : recorded.outputs) {
    cotangents.push_back(generic_weights(output).requires_grad_());
  }
  const LinearityCheck linearity(recorded.outputs);
  gradients = pull_back(recorded, cotangents, /*create_graph=*/true);
  check_goes_on(place, gradients);
  linearity.check(place);
}

Tensors TransposedTwice::product(const Tensors& tangents) const {
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
    found = differentiable_gradients(differentiable, cotangents, weights, wants_graph(recorded, tangents));
  }
  return filled_with_zeros(std::move(found), recorded.values);
}

Linearized linearized(Recorded recorded, const Tensors& primals) {
  const auto twice = std::make_shared<const TransposedTwice>("linearize", std::move(recorded));
  return {twice->recorded.values,
          [twice, primals](const Tensors& tangents) {
            check_tangents("linearize", primals, tangents);
            return twice->product(tangents);
          },
          twice->recorded.aux};
}

Hvp hvp_of(const Recorded& recorded, const Tensors& vectors) {
  check_scalar("hvp", recorded);
  const Tensors gradients = pull_back(recorded, {at::ones_like(recorded.values[0])}, /*create_graph=*/true);
  check_goes_on("hvp", gradients);
  const Recorded again{recorded.inputs, gradients, gradients, {}, recorded.differentiable};
  Hvp found{recorded.values[0], gradients, pull_back(again, vectors, wants_graph(again, vectors)),
            /*forward_mode=*/false, recorded.aux};
  if (!recorded.differentiable) {
    for (at::Tensor& gradient : found.gradients) {
      gradient = gradient.detach();
    }
  }
  return found;
}

void check_tangents(const char* place, const Tensors& primals, const Tensors& tangents) {
  GRADWISE_CHECK(!primals.empty(), place, "there is no primal");
  GRADWISE_CHECK(primals.size() == tangents.size(), place, "there are ", primals.size(), " primals and ",
                 tangents.size(), " tangents");
  for (std::size_t i = 0; i < primals.size(); ++i) {
    check_real(place, "primal", i, primals[i]);
    GRADWISE_CHECK(tangents[i].defined() && primals[i].sizes() == tangents[i].sizes() &&
                       primals[i].scalar_type() == tangents[i].scalar_type(),
                   place, "tangent ", i, " is ", tangents[i].scalar_type(), " of the shape ", tangents[i].sizes(),
                   ", its primal ", primals[i].scalar_type(), " of the shape ", primals[i].sizes());
  }
}

}  // namespace gradwise::detail
