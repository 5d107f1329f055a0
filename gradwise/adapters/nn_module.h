#pragma once

#include <torch/nn/module.h>

#include <memory>
#include <utility>

#include "gradwise/core/model.h"

namespace gradwise {

/// Parameters and buffers of a module by name, sharing its storage; one that stands in several places has its first
/// name.
[[nodiscard]] NamedParameters named_parameters(const torch::nn::Module& module);
[[nodiscard]] NamedParameters named_buffers(const torch::nn::Module& module);

namespace detail {
[[nodiscard]] Model adapt_module(const std::shared_ptr<torch::nn::Module>& module);
}

/// A Model of a `torch::nn` module; `forward` maps (module, batch) to the output and defaults to
/// `module.forward(batch.input)`.
///
///   auto net = std::make_shared<NetImpl>();
///   AutogradTrainingLoop loop(adapt(net), {.lr = 1e-3});
template <class Module, class Forward>
[[nodiscard]] Model adapt(std::shared_ptr<Module> module, Forward forward) {
  Model model = detail::adapt_module(module);
  model.forward = [module = std::move(module), forward = std::move(forward)](const Batch& batch) {
    return forward(*module, batch);
  };
  return model;
}

template <class Module>
[[nodiscard]] Model adapt(std::shared_ptr<Module> module) {
  return adapt(std::move(module), [](Module& m, const Batch& batch) { return m.forward(batch.input); });
}

}  // namespace gradwise
