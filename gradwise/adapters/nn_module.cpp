#include "gradwise/adapters/nn_module.h"

namespace gradwise {

NamedParameters named_parameters(const torch::nn::Module& module) {
  NamedParameters found;
  for (const auto& item : module.named_parameters()) {
    found.add(item.key(), item.value());
  }
  return found;
}

NamedParameters named_buffers(const torch::nn::Module& module) {
  NamedParameters found;
  for (const auto& item : module.named_buffers()) {
    found.add(item.key(), item.value());
  }
  return found;
}

namespace detail {

Model adapt_module(const std::shared_ptr<torch::nn::Module>& module) {
  Model model;
  model.parameters = named_parameters(*module);
  model.buffers = named_buffers(*module);
  model.set_training = [module](bool training) { module->train(training); };
  model.is_training = [module] { return module->is_training(); };
  model.to = [module](at::Device device) { module->to(device); };
  return model;
}

}  // namespace detail
}  // namespace gradwise
