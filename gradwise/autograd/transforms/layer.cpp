#include "gradwise/autograd/transforms/layer.h"

#include <ATen/functorch/BatchedTensorImpl.h>
#include <ATen/functorch/DynamicLayer.h>
#include <ATen/functorch/TensorWrapper.h>
#include <ATen/ops/_make_dual.h>
#include <ATen/ops/_unpack_dual.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/AutogradState.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/forward_grad.h>

#include <mutex>

namespace gradwise {
namespace {

namespace functorch = at::functorch;

// LibTorch has one level of dual numbers for the whole process; the layers tell apart what is nested, so the first of
// any thread opens it for all, and the last one closes it.
std::mutex dual_mutex;
int dual_shares = 0;
constexpr std::int64_t kDualLevel = 0;

// Lets tensors of a layer ask for gradients, for a scope.
class AskingAllowed {
 public:
  AskingAllowed() : before_(functorch::getInplaceRequiresGradAllowed()) {
    functorch::setInplaceRequiresGradAllowed(true);
  }
  ~AskingAllowed() { functorch::setInplaceRequiresGradAllowed(before_); }
  AskingAllowed(const AskingAllowed&) = delete;
  AskingAllowed& operator=(const AskingAllowed&) = delete;

 private:
  bool before_;
};

at::Tensor unwrapped(const at::Tensor& tensor, std::int64_t level) {
  const auto* wrapper = functorch::maybeGetTensorWrapper(tensor);
  return wrapper != nullptr && wrapper->level() == level ? wrapper->value() : tensor;
}

functorch::RandomnessType randomness_type(Randomness randomness) {
  switch (randomness) {
    case Randomness::same:
      return functorch::RandomnessType::Same;
    case Randomness::different:
      return functorch::RandomnessType::Different;
    case Randomness::error:
      break;
  }
  return functorch::RandomnessType::Error;
}

}  // namespace

bool inside_transform() { return functorch::maybeCurrentDynamicLayer().has_value(); }

GradLayer::GradLayer()
    : level_(functorch::initAndPushDynamicLayer(functorch::TransformType::Grad, std::nullopt, std::nullopt,
                                                c10::GradMode::is_enabled())) {}

GradLayer::~GradLayer() { functorch::popDynamicLayerAndDeleteMetadata(); }

at::Tensor GradLayer::wrap(const at::Tensor& tensor, bool differentiable) const {
  at::Tensor wrapped = functorch::makeTensorWrapper(tensor, level_);
  if (differentiable) {
    const AskingAllowed allowed;
    wrapped.requires_grad_();
  }
  return wrapped;
}

at::Tensor GradLayer::unwrap(const at::Tensor& tensor) const { return unwrapped(tensor, level_); }

JvpLayer::DualLevel::DualLevel() {
  const std::scoped_lock lock(dual_mutex);
  if (dual_shares == 0) {
    torch::autograd::ForwardADLevel::get_next_idx();
  }
  ++dual_shares;
}

JvpLayer::DualLevel::~DualLevel() {
  const std::scoped_lock lock(dual_mutex);
  if (--dual_shares == 0) {
    torch::autograd::ForwardADLevel::release_idx(kDualLevel);
  }
}

JvpLayer::JvpLayer()
    : level_(functorch::initAndPushDynamicLayer(functorch::TransformType::Jvp, std::nullopt, std::nullopt, std::nullopt,
                                                c10::AutogradState::get_tls_state().get_fw_grad_mode())) {}

JvpLayer::~JvpLayer() { functorch::popDynamicLayerAndDeleteMetadata(); }

at::Tensor JvpLayer::unwrap(const at::Tensor& tensor) const { return unwrapped(tensor, level_); }

at::Tensor JvpLayer::dual(const at::Tensor& primal, const at::Tensor& tangent) const {
  return at::_make_dual(primal, tangent, kDualLevel);
}

at::Tensor JvpLayer::primal(const at::Tensor& dual) const {
  return unwrap(std::get<0>(at::_unpack_dual(dual, kDualLevel)));
}

at::Tensor JvpLayer::tangent(const at::Tensor& dual) const {
  const auto [primal, tangent] = at::_unpack_dual(dual, kDualLevel);
  return tangent.defined() ? unwrap(tangent) : at::zeros_like(unwrap(primal));
}

VmapLayer::VmapLayer(std::int64_t batch_size, Randomness randomness)
    : level_(functorch::initAndPushDynamicLayer(functorch::TransformType::Vmap, c10::SymInt(batch_size),
                                                randomness_type(randomness))),
      batch_size_(batch_size) {}

VmapLayer::~VmapLayer() { functorch::popDynamicLayerAndDeleteMetadata(); }

at::Tensor VmapLayer::hide(const at::Tensor& tensor, std::int64_t dimension) const {
  return functorch::addBatchDim(tensor, dimension, level_);
}

at::Tensor VmapLayer::show(const at::Tensor& tensor, std::int64_t dimension) const {
  const auto* batched = functorch::maybeGetBatchedImpl(tensor);
  if (batched == nullptr || batched->level() != level_) {
    at::DimVector sizes(tensor.sizes());
    sizes.insert(sizes.begin(), batch_size_);
    return tensor.unsqueeze(0).expand(sizes).movedim(0, dimension);
  }
  return batched->value().movedim(batched->bdim(), dimension);
}

}  // namespace gradwise
