#include "gradwise/autograd/memory/saved_tensor_hooks.h"

#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>
#include <torch/csrc/autograd/variable.h>

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

#include "gradwise/core/error.h"

namespace gradwise {

struct detail::SavedTensorScope {
  PackSaved pack;
  StaysSaved stays;
  std::atomic<bool> open = true;  // another thread may end it
};

namespace {

using SharedScope = std::shared_ptr<detail::SavedTensorScope>;

thread_local std::vector<SharedScope> open_scopes;

detail::SavedTensorStack& stack_in_use() {
  static detail::SavedTensorStack stack;
  return stack;
}

// The innermost scope that has not ended; null where there is none.
SharedScope innermost_scope() {
  while (!open_scopes.empty() && !open_scopes.back()->open) {
    open_scopes.pop_back();
  }
  return open_scopes.empty() ? nullptr : open_scopes.back();
}

// Keeps a tensor as it is, and notices what is written to it meanwhile: LibTorch does not look where there are hooks.
UnpackSaved kept_as_it_is(const at::Tensor& tensor, const c10::VariableVersion& version) {
  return [tensor, version, saved = version.current_version()] {
    GRADWISE_CHECK(version.current_version() == saved, "saved_tensors",
                   "a tensor that backward needs was written to in place: it was saved at version ", saved,
                   " and is at version ", version.current_version());
    return tensor;
  };
}

UnpackSaved keep(const detail::SavedTensorScope& scope, const at::Tensor& tensor) {
  // A result that its own node keeps would hold that node in turn: neither would ever go.
  const at::Tensor plain = tensor.grad_fn() ? tensor.detach() : tensor;
  const bool stays = scope.stays && scope.stays(tensor);
  return stays ? kept_as_it_is(plain, torch::autograd::impl::version_counter(tensor)) : scope.pack(plain);
}

class ClosureHooks : public torch::autograd::SavedVariableHooks {
 public:
  explicit ClosureHooks(SharedScope scope) : scope_(std::move(scope)) {}
  void call_pack_hook(const at::Tensor& tensor) override {
    unpack_ = keep(*scope_, tensor);
    scope_.reset();
  }
  at::Tensor call_unpack_hook() override { return unpack_(); }

 private:
  SharedScope scope_;
  UnpackSaved unpack_;
};

// LibTorch asks its engine for the hooks of saved tensors, and only Python's engine has an answer.
class EngineWithHooks : public torch::autograd::Engine {
 public:
  EngineWithHooks() = default;
  ~EngineWithHooks() override { stop(); }
  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override {
    SharedScope scope = innermost_scope();
    return scope ? std::make_unique<ClosureHooks>(std::move(scope)) : nullptr;
  }
};

torch::autograd::Engine& engine_with_hooks() {
  static EngineWithHooks engine;
  return engine;
}

void install_engine() {
  static std::once_flag once;
  std::call_once(once, [] { torch::autograd::set_default_engine_stub(&engine_with_hooks); });
}

}  // namespace

void detail::use_saved_tensor_stack(SavedTensorStack stack) { stack_in_use() = std::move(stack); }

SavedTensorHooks::SavedTensorHooks(PackSaved pack, StaysSaved stays)
    : scope_(std::make_shared<detail::SavedTensorScope>()) {
  GRADWISE_CHECK(pack != nullptr, "saved_tensor_hooks", "there is no function that packs");
  scope_->pack = std::move(pack);
  scope_->stays = std::move(stays);
  if (const auto& push = stack_in_use().push) {
    push([scope = scope_](const at::Tensor& tensor) { return keep(*scope, tensor); });
    return;
  }
  install_engine();
  open_scopes.push_back(scope_);
}

SavedTensorHooks::~SavedTensorHooks() {
  if (const auto& pop = stack_in_use().pop) {
    pop();
    return;
  }
  scope_->open = false;
  std::erase(open_scopes, scope_);  // in another thread it is not there, and goes when its own asks next
}

}  // namespace gradwise
