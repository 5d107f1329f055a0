#include "gradwise/autograd/per_sample/vmapped_gradients.h"

#include <optional>
#include <utility>

#include "gradwise/autograd/per_sample/sample_losses.h"
#include "gradwise/autograd/transforms/vjp.h"
#include "gradwise/autograd/transforms/vmap.h"

namespace gradwise {

std::vector<at::Tensor> vmapped_gradients(const Model& model, const NamedParameters& parameters,
                                          const LossFunction& loss_function, const at::Tensor& input,
                                          const at::Tensor& target) {
  const std::size_t count = parameters.size();
  const TensorFunction loss_of_sample = [&](const Tensors& in) {
    const NamedParameters own{parameters.names, {in.begin(), in.begin() + static_cast<std::ptrdiff_t>(count)}};
    const at::Tensor sample = in[count].unsqueeze(0);
    const at::Tensor label = in.size() > count + 1 ? in[count + 1].unsqueeze(0) : at::Tensor();
    return Tensors{loss_of_one(loss_function, model.forward_with(own, {sample, label, {}}), label)};
  };
  TransformOptions by_parameters{.argnums = {}};
  VmapOptions over_samples;
  Tensors arguments;
  for (const at::Tensor& parameter : parameters.tensors) {
    by_parameters.argnums.push_back(static_cast<std::int64_t>(arguments.size()));
    over_samples.in_dims.push_back(std::nullopt);
    arguments.push_back(parameter.detach());
  }
  over_samples.in_dims.emplace_back(0);
  arguments.push_back(input);
  if (target.defined()) {
    over_samples.in_dims.emplace_back(0);
    arguments.push_back(target);
  }
  return vmap(grad(loss_of_sample, std::move(by_parameters)), std::move(over_samples))(arguments);
}

}  // namespace gradwise
