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
  /// Moves parameters and buffers in place, so that `parameters` stay the model's own; empty where it can't.
  std::function<void(at::Device)> to = nullptr;
};

/// Puts a model into train or evaluation mode for a scope, and back into the mode it had.
class TrainingModeGuard {
 public:
  TrainingModeGuard(const Model& model, bool training)
      : model_(model), before_(model.is_training && model.is_training()) {
    if (model_.set_training) {
      model_.set_training(training);
    }
  }
  ~TrainingModeGuard() {
    if (model_.set_training) {
      model_.set_training(before_);
    }
  }
  TrainingModeGuard(const TrainingModeGuard&) = delete;
  TrainingModeGuard& operator=(const TrainingModeGuard&) = delete;

 private:
  const Model& model_;
  bool before_;
};

}  // namespace gradwise
