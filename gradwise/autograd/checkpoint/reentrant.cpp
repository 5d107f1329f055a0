#include "gradwise/autograd/checkpoint/reentrant.h"

#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <utility>

#include "gradwise/autograd/checkpoint/surroundings.h"
#include "gradwise/core/error.h"

namespace gradwise::detail {
namespace {

struct Call : torch::CustomClassHolder {
  Call(TensorFunction f, at::Device device, bool random) : function(std::move(f)), surroundings(device, random) {}
  TensorFunction function;
  Surroundings surroundings;
};

class ReentrantCheckpoint : public torch::autograd::Function<ReentrantCheckpoint> {
 public:
  using Context = torch::autograd::AutogradContext;

  static Tensors forward(Context* context, at::TensorList inputs, const c10::intrusive_ptr<Call>& call) {
    context->save_for_backward(inputs.vec());
    context->saved_data["call"] = c10::IValue::make_capsule(call);
    return call->function(inputs.vec());  // without gradients: Function sees to it
  }

  static Tensors backward(Context* context, const Tensors& grads) {
    GRADWISE_CHECK(torch::autograd::Engine::get_default_engine().is_checkpoint_valid(), "checkpoint",
                   "a reentrant checkpoint does not work with autograd::grad() or inputs given to backward(), allowed: "
                   "backward(), or reentrant = false");
    const auto call = c10::static_intrusive_pointer_cast<Call>(context->saved_data["call"].toCapsule());
    Tensors inputs;
    for (const at::Tensor& saved : context->get_saved_variables()) {
      inputs.push_back(saved.detach().set_requires_grad(saved.requires_grad()));
    }
    Tensors outputs;
    {
      const Surroundings::Scope surroundings(call->surroundings);
      const at::AutoGradMode grad_mode(true);
      outputs = call->function(inputs);
    }
    Tensors roots;
    Tensors weights;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].requires_grad() && grads[i].defined()) {
        roots.push_back(outputs[i]);
        weights.push_back(grads[i]);
      }
    }
    if (!roots.empty()) {
      torch::autograd::backward(roots, weights);
    }
    Tensors found;
    for (const at::Tensor& input : inputs) {
      found.push_back(input.grad());
    }
    found.emplace_back();  // of the call
    return found;
  }
};

}  // namespace

Tensors checkpoint_reentrant(TensorFunction function, const Tensors& inputs, const RecomputeOptions& options) {
  const bool asked = std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor& t) { return t.requires_grad(); });
  GRADWISE_CHECK(asked, "checkpoint",
                 "no input of a reentrant checkpoint asks for a gradient, so that its parameters would get none, "
                 "allowed: an input that does, or reentrant = false");
  return ReentrantCheckpoint::apply(
      at::TensorList(inputs),
      c10::make_intrusive<Call>(std::move(function), device_of_inputs(inputs), options.preserve_random_state));
}

}  // namespace gradwise::detail
