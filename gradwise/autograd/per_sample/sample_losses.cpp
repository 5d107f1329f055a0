#include "gradwise/autograd/per_sample/sample_losses.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>

#include <exception>

#include "gradwise/autograd/transforms/fallback.h"
#include "gradwise/autograd/transforms/vmap.h"
#include "gradwise/core/error.h"

namespace gradwise {

at::Tensor loss_of_one(const LossFunction& loss_function, const at::Tensor& output, const at::Tensor& target) {
  const at::Tensor loss = loss_function(output, target);
  GRADWISE_CHECK(loss.numel() == 1, "per sample", "the loss of a sample has ", loss.numel(),
                 " elements, allowed: one (reduction none is not)");
  return loss.reshape({});
}

namespace {

at::Tensor at_once(const LossFunction& loss_function, const at::Tensor& output, const at::Tensor& target) {
  const TensorFunction of_sample = [&loss_function](const Tensors& in) {
    return Tensors{loss_of_one(loss_function, in[0].unsqueeze(0), in.size() > 1 ? in[1].unsqueeze(0) : at::Tensor())};
  };
  const Tensors arguments = target.defined() ? Tensors{output, target} : Tensors{output};
  return vmap(of_sample, {.randomness = Randomness::different})(arguments)[0];
}

at::Tensor one_by_one(const LossFunction& loss_function, const at::Tensor& output, const at::Tensor& target) {
  Tensors losses;
  for (std::int64_t i = 0; i < output.size(0); ++i) {
    losses.push_back(
        loss_of_one(loss_function, output.narrow(0, i, 1), target.defined() ? target.narrow(0, i, 1) : at::Tensor()));
  }
  return at::stack(losses);
}

}  // namespace

at::Tensor sample_losses(const LossFunction& loss_function, const at::Tensor& output, const at::Tensor& target,
                         std::int64_t samples, bool& by_loop) {
  GRADWISE_CHECK(output.dim() > 0 && output.size(0) == samples, "per sample", "the output has the shape ",
                 output.sizes(), " for ", samples, " samples, allowed: (", samples, ", ...)");
  const at::AutoGradMode grad_mode(true);
  at::Tensor losses;
  if (!by_loop) {
    try {
      losses = at_once(loss_function, output, target);
    } catch (const std::exception& error) {
      if (detail::is_interruption(error)) {
        throw;
      }
    }
  }
  if (!losses.defined()) {
    losses = one_by_one(loss_function, output, target);  // where it is the loss that is wrong, this says so
    by_loop = true;
  }
  GRADWISE_CHECK(losses.requires_grad(), "per sample",
                 "the loss does not depend on any parameter that asks for a gradient");
  return losses;
}

}  // namespace gradwise
