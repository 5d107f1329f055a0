#include "gradwise/autograd/memory/saved_tensor_hooks.h"

#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>

#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

// An empty entry hides those below it.
thread_local std::vector<std::shared_ptr<const PackSaved>> open_scopes;

class ClosureHooks : public torch::autograd::SavedVariableHooks {
 public:
  explicit ClosureHooks(std::shared_ptr<const PackSaved> pack) : pack_(std::move(pack)) {}
  void call_pack_hook(const at::Tensor& tensor) override {
    // A result that its own node keeps would hold that node in turn: neither would ever go.
    unpack_ = (*pack_)(tensor.grad_fn() ? tensor.detach() : tensor);
    pack_.reset();
  }
  at::Tensor call_unpack_hook() override { return unpack_(); }

 private:
  std::shared_ptr<const PackSaved> pack_;
  UnpackSaved unpack_;
};

// LibTorch asks its engine for the hooks of saved tensors, and only Python's engine has an answer.
class EngineWithHooks : public torch::autograd::Engine {
 public:
  EngineWithHooks() = default;
  ~EngineWithHooks() override { stop(); }
  std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override {
    if (open_scopes.empty() || !open_scopes.back()) {
      return nullptr;
    }
    return std::make_unique<ClosureHooks>(open_scopes.back());
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

SavedTensorHooks::SavedTensorHooks(PackSaved pack) {
  GRADWISE_CHECK(pack != nullptr, "saved_tensor_hooks", "there is no function that packs");
  install_engine();
  open_scopes.push_back(std::make_shared<const PackSaved>(std::move(pack)));
}

SavedTensorHooks::~SavedTensorHooks() { open_scopes.pop_back(); }

NoSavedTensorHooks::NoSavedTensorHooks() { open_scopes.push_back(nullptr); }

NoSavedTensorHooks::~NoSavedTensorHooks() { open_scopes.pop_back(); }

}  // namespace gradwise
