#include "gradwise/adapters/torch_script.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "gradwise/core/error.h"

namespace gradwise {
namespace {

std::shared_ptr<torch::jit::Module> load_file(const std::filesystem::path& path) {
  try {
    return std::make_shared<torch::jit::Module>(torch::jit::load(path.string()));
  } catch (const c10::Error& error) {
    fail("script model", path.string(),
         " is not a TorchScript file that can be read: ", error.what_without_backtrace());
  }
}

std::function<void()> remember_modes(const torch::jit::Module& module) {
  std::vector<std::pair<torch::jit::Module, bool>> modes;
  for (const torch::jit::Module& part : module.modules()) {
    modes.emplace_back(part, part.is_training());
  }
  return [modes]() mutable {
    for (auto& [part, training] : modes) {  // a module before its parts, for `train` sets theirs too
      part.train(training);
    }
  };
}

at::Tensor call(torch::jit::Module& module, const Batch& batch) {
  std::vector<c10::IValue> inputs{batch.input};
  inputs.insert(inputs.end(), batch.extra.begin(), batch.extra.end());
  const c10::IValue output = module.forward(std::move(inputs));
  GRADWISE_CHECK(output.isTensor(), "script model", "forward returns ", output.tagKind(), ", allowed: one Tensor");
  return output.toTensor();
}

}  // namespace

Model load_script_model(const std::filesystem::path& path) {
  GRADWISE_CHECK(std::filesystem::exists(path), "script model", "there is no file ", path.string());
  torch::jit::setGraphExecutorOptimize(false);
  const std::shared_ptr<torch::jit::Module> module = load_file(path);
  Model model;
  for (const auto& item : module->named_parameters()) {
    model.parameters.add(item.name, item.value);
  }
  for (const auto& item : module->named_buffers()) {
    model.buffers.add(item.name, item.value);
  }
  model.forward = [module](const Batch& batch) { return call(*module, batch); };
  model.set_training = [module](bool training) { module->train(training); };
  model.is_training = [module] { return module->is_training(); };
  model.remember_modes = [module] { return remember_modes(*module); };
  model.to = [module](at::Device device) { module->to(device); };
  return model;
}

}  // namespace gradwise
