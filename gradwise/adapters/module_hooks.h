#pragma once

#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/pimpl.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "gradwise/autograd/autograd_hooks.h"

/// Hooks on the layers of torch::nn models in C++, with the meaning of Python's: LibTorch has none.
namespace gradwise {

/// Runs before a layer, with its name and input; may return another input, or an undefined tensor to leave it.
using PreForwardHook = std::function<at::Tensor(const std::string& layer, const at::Tensor& input)>;
/// Runs behind a layer; may return another output, or an undefined tensor to leave it.
using ForwardHook =
    std::function<at::Tensor(const std::string& layer, const at::Tensor& input, const at::Tensor& output)>;
/// Runs in backward when the layer's gradients are there: with respect to its input (undefined where that asks for
/// none) and to its output.
using BackwardHook =
    std::function<void(const std::string& layer, const at::Tensor& grad_input, const at::Tensor& grad_output)>;

/// Takes one hook away again. It may outlive what it was registered on.
class HookHandle {
 public:
  explicit HookHandle(std::function<void()> remove) : remove_(std::move(remove)) {}
  void remove() {
    if (remove_) {
      std::exchange(remove_, nullptr)();
    }
  }

 private:
  std::function<void()> remove_;
};

/// The hooks of one or several layers. Hooks run in the order in which they were registered, those of backward in the
/// thread of the backward pass.
class LayerHooks {
 public:
  LayerHooks();
  // The handle may be dropped: the hook stays.
  HookHandle on_pre_forward(PreForwardHook hook);
  HookHandle on_forward(ForwardHook hook);
  HookHandle on_backward(BackwardHook hook);
  /// Runs `forward` on an input with the hooks around it.
  [[nodiscard]] at::Tensor around(const std::string& layer, const at::Tensor& input,
                                  const std::function<at::Tensor(const at::Tensor&)>& forward) const;

  struct Lists;

 private:
  std::shared_ptr<Lists> lists_;
};

/// A layer of a user's own module with hooks: where the module says `torch::nn::Linear fc1{nullptr};`, it says
///
///   Hooked<torch::nn::Linear> fc1{nullptr};
///
/// and nothing else changes: `fc1 = register_module("fc1", torch::nn::Linear(4, 8))`, `x = fc1(x)`. Then
/// `net->fc1.hooks("fc1").on_forward(...)`. A call of `fc1->forward(x)` goes past the hooks, as in Python. For layers
/// that take a tensor and give one.
template <class Holder>
class Hooked : public Holder {
 public:
  using Holder::Holder;
  Hooked() = default;

  at::Tensor operator()(const at::Tensor& input) {
    if (!hooks_) {
      return (*this)->forward(input);
    }
    return hooks_->around(name_, input, [this](const at::Tensor& x) { return (*this)->forward(x); });
  }

  /// Its hooks, which are told this name; nothing is paid until they are asked for.
  LayerHooks& hooks(const std::string& name) {
    if (!hooks_) {
      hooks_ = std::make_shared<LayerHooks>();
    }
    name_ = name;
    return *hooks_;
  }

 private:
  std::shared_ptr<LayerHooks> hooks_;
  std::string name_;
};

/// Hooks on every layer of a Sequential, those of Sequentials inside it too, as they stand, without any change: names
/// are "0", "1", ..., "3.0", behind `prefix` and a dot where one is given. Parameters and their names stay as they
/// were; to clone the model meanwhile is an Error. For layers that take a tensor and give one.
///
///   SequentialHooks hooks(net);
///   hooks.on_forward([](const std::string& layer, const at::Tensor&, const at::Tensor& output) {
///     std::printf("%s %g\n", layer.c_str(), output.norm().item<double>());
///     return at::Tensor();
///   });
class SequentialHooks : public LayerHooks {
 public:
  explicit SequentialHooks(torch::nn::Sequential sequential, const std::string& prefix = "");
  /// Puts the layers back as they were.
  ~SequentialHooks();
  SequentialHooks(const SequentialHooks&) = delete;
  SequentialHooks& operator=(const SequentialHooks&) = delete;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Shows a layer's outputs to `AutogradHooks`, which has to live as long as the hooks.
inline HookHandle observe_with(LayerHooks& layers, AutogradHooks& hooks) {
  return layers.on_forward([&hooks](const std::string& layer, const at::Tensor&, const at::Tensor& output) {
    hooks.observe(layer, output);
    return at::Tensor();
  });
}

}  // namespace gradwise
