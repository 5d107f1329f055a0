#include "gradwise/adapters/nn_module.h"

#include <functional>
#include <set>
#include <string>
#include <vector>

namespace gradwise {

namespace {

// LibTorch lists a tensor that two modules share twice; an optimizer must see it once.
NamedParameters each_once(const torch::OrderedDict<std::string, at::Tensor>& tensors) {
  NamedParameters found;
  std::set<const at::TensorImpl*> seen;
  for (const auto& item : tensors) {
    if (seen.insert(item.value().unsafeGetTensorImpl()).second) {
      found.add(item.key(), item.value());
    }
  }
  return found;
}

std::function<void()> remember_modes(const torch::nn::Module& module) {
  std::vector<std::pair<std::shared_ptr<torch::nn::Module>, bool>> modes;
  for (const std::shared_ptr<torch::nn::Module>& part : module.modules()) {
    modes.emplace_back(part, part->is_training());
  }
  return [modes] {
    for (const auto& [part, training] : modes) {  // a module before its parts, for `train` sets theirs too
      part->train(training);
    }
  };
}

}  // namespace

NamedParameters named_parameters(const torch::nn::Module& module) { return each_once(module.named_parameters()); }

NamedParameters named_buffers(const torch::nn::Module& module) { return each_once(module.named_buffers()); }

namespace detail {

Model adapt_module(const std::shared_ptr<torch::nn::Module>& module) {
  Model model;
  model.parameters = named_parameters(*module);
  model.buffers = named_buffers(*module);
  model.set_training = [module](bool training) { module->train(training); };
  model.is_training = [module] { return module->is_training(); };
  model.remember_modes = [module] { return remember_modes(*module); };
  model.to = [module](at::Device device) { module->to(device); };
  return model;
}

}  // namespace detail
}  // namespace gradwise
