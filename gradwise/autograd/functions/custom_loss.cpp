#include "gradwise/autograd/functions/custom_loss.h"

#include <ATen/OpMathType.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/scalar_tensor.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <utility>

#include "gradwise/autograd/transforms/layer.h"
#include "gradwise/core/error.h"

namespace gradwise {
namespace {

struct HeldLoss : torch::CustomClassHolder {
  explicit HeldLoss(std::shared_ptr<const LossDefinition> d) : definition(std::move(d)) {}
  std::shared_ptr<const LossDefinition> definition;
};

class LossNode : public torch::autograd::Function<LossNode> {
 public:
  using Context = torch::autograd::AutogradContext;

  static at::Tensor forward(Context* context, at::TensorList inputs, const c10::intrusive_ptr<HeldLoss>& held) {
    context->save_for_backward(inputs.vec());
    context->saved_data["loss"] = c10::IValue::make_capsule(held);
    return held->definition->forward(inputs.vec());
  }

  static Tensors backward(Context* context, const Tensors& grads) {
    const Tensors inputs = context->get_saved_variables();
    const auto held = c10::static_intrusive_pointer_cast<HeldLoss>(context->saved_data["loss"].toCapsule());
    std::vector<bool> needed;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      needed.push_back(context->needs_input_grad(i));
    }
    Tensors found = held->definition->backward(inputs, grads[0], needed);
    GRADWISE_CHECK(found.size() == inputs.size(), held->definition->name(), "backward gave ", found.size(),
                   " gradients for ", inputs.size(), " inputs");
    found.emplace_back();  // of the definition
    return found;
  }
};

}  // namespace

at::Tensor LossDefinition::count(const Tensors&, const at::Tensor& losses) const {
  return at::scalar_tensor(losses.numel(), losses.options());
}

CustomLossFunction::CustomLossFunction(std::shared_ptr<const LossDefinition> definition, Reduction reduction)
    : definition_(std::move(definition)), reduction_(reduction) {
  GRADWISE_CHECK(definition_ != nullptr, "custom_loss", "there is no definition");
}

at::Tensor CustomLossFunction::operator()(const Tensors& inputs) const {
  definition_->check(inputs);
  const at::Tensor losses = inside_transform()
                                ? definition_->forward(inputs)
                                : LossNode::apply(at::TensorList(inputs), c10::make_intrusive<HeldLoss>(definition_));
  switch (reduction_) {
    case Reduction::none:
      return losses;
    case Reduction::sum:
      return losses.sum();
    case Reduction::mean:
      break;
  }
  // Sum and count of many losses are beyond what 16 bits hold, their quotient is not.
  const at::Tensor wide = losses.to(at::toOpMathType(losses.scalar_type()));
  return wide.sum().div(definition_->count(inputs, wide)).to(losses.scalar_type());
}

}  // namespace gradwise
