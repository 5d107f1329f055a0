#pragma once

#include <functional>

#include "gradwise/core/batch.h"
#include "gradwise/core/named_parameters.h"

namespace gradwise {

/// What Gradwise needs of a model, whatever it was written in. `gradwise/adapters/` makes one from a
/// `torch::nn::Module` or a TorchScript file; any callable from a batch to an output will do:
///
///   Model model;
///   model.parameters.add("weight", weight);
///   model.forward = [weight](const Batch& batch) { return batch.input.matmul(weight); };
struct Model {
  NamedParameters parameters;
  NamedParameters buffers;
  std::function<at::Tensor(const Batch&)> forward;
  /// Sets train mode (true) or evaluation mode; empty where the model has no modes.
  std::function<void(bool)> set_training = nullptr;
  std::function<bool()> is_training = nullptr;
  /// Returns what puts every part's mode back as it is now, where the parts may differ (a batch norm that stays in
  /// evaluation mode); empty where `set_training(is_training())` does.
  std::function<std::function<void()>()> remember_modes = nullptr;
  /// Moves parameters and buffers in place, so that `parameters` stay the model's own; empty where it can't.
  std::function<void(at::Device)> to = nullptr;
  /// The forward pass with these tensors in place of the parameters of their names; empty where it can't.
  std::function<at::Tensor(const NamedParameters&, const Batch&)> forward_with = nullptr;
};

/// Puts a model into train or evaluation mode for a scope, and each of its parts back into the mode it had.
class TrainingModeGuard {
 public:
  TrainingModeGuard(const Model& model, bool training) {
    if (!model.set_training) {
      return;
    }
    if (model.remember_modes) {
      restore_ = model.remember_modes();
    } else {
      const bool before = !model.is_training || model.is_training();
      restore_ = [set = model.set_training, before] { set(before); };
    }
    model.set_training(training);
  }
  ~TrainingModeGuard() {
    if (restore_) {
      restore_();
    }
  }
  TrainingModeGuard(const TrainingModeGuard&) = delete;
  TrainingModeGuard& operator=(const TrainingModeGuard&) = delete;

 private:
  std::function<void()> restore_;
};

}  // namespace gradwise
