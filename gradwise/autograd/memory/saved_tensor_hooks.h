#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <memory>

namespace gradwise {

/// Gives a saved tensor back when backward asks for it.
using UnpackSaved = std::function<at::Tensor()>;
/// Takes a tensor that autograd saves for backward, and says how to get it back. It may run inside any operator.
using PackSaved = std::function<UnpackSaved(const at::Tensor&)>;
/// Whether a saved tensor stays where it is, as if there were no hooks. It gets the tensor as it is in the graph, where
/// `PackSaved` gets it detached if it is some operator's result.
using StaysSaved = std::function<bool(const at::Tensor&)>;

namespace detail {
struct SavedTensorScope;

/// Hooks of another language for tensors that this thread saves, the last pushed first.
struct SavedTensorStack {
  std::function<void(PackSaved)> push;
  std::function<void()> pop;
};

/// Scopes go by `stack` from now on, instead of an engine of Gradwise's own: where LibTorch runs by Python's. They must
/// end in the thread that made them, the innermost first. To be called before the first of them.
void use_saved_tensor_stack(SavedTensorStack stack);
}  // namespace detail

/// While it lives, tensors that operators save for backward in this thread go through `pack`
/// (`torch.autograd.graph.saved_tensors_hooks`, which LibTorch has for Python alone). Scopes nest; the innermost takes
/// the tensor, and they may end in any order and in any thread. What was saved inside works on after the end of the
/// scope. Writes in place to what went through `pack` go unnoticed: backward gets what `pack` kept. Errors: there is no
/// function; in backward, a tensor that stays and was written to in place since.
class SavedTensorHooks {
 public:
  explicit SavedTensorHooks(PackSaved pack, StaysSaved stays = nullptr);
  ~SavedTensorHooks();
  SavedTensorHooks(const SavedTensorHooks&) = delete;
  SavedTensorHooks& operator=(const SavedTensorHooks&) = delete;

 private:
  std::shared_ptr<detail::SavedTensorScope> scope_;
};

/// Where tensors that backward needs are kept meanwhile. Tensors smaller than `smallest` bytes, parameters (leaves),
/// views of them, what is not strided and complex or negative views stay where they are. A tensor that several
/// operators save is kept once, as long as one of them holds it.
struct SavedTensorOptions {
  std::int64_t smallest = 1024;
};

/// Saved tensors wait in the host's memory, and go back to their device for backward. Those of the CPU stay: in a
/// training there this does nothing.
[[nodiscard]] std::unique_ptr<SavedTensorHooks> saved_tensors_on_host(const SavedTensorOptions& options = {});

/// Saved tensors wait in files of a folder of this process's own under `folder`, which goes when the last of them does.
/// Errors: a folder that can't be written; a full disk, in the forward pass that saves.
[[nodiscard]] std::unique_ptr<SavedTensorHooks> saved_tensors_on_disk(const std::filesystem::path& folder,
                                                                      const SavedTensorOptions& options = {});

/// float32 and float64 wait as bfloat16: half or a quarter of the memory, gradients with a relative error of about
/// 2^-9 in what they are computed from.
[[nodiscard]] std::unique_ptr<SavedTensorHooks> saved_tensors_in_bfloat16(const SavedTensorOptions& options = {});

/// Saved tensors wait compressed by zlib (level 1, bytes grouped by their place in the element); gradients are the same
/// to the bit. Pays where many elements are zero, as behind ReLU.
[[nodiscard]] std::unique_ptr<SavedTensorHooks> saved_tensors_compressed(const SavedTensorOptions& options = {});

}  // namespace gradwise
