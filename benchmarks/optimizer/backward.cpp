#include "benchmarks/optimizer/backward.h"

#include <ATen/ATen.h>

#include <chrono>

#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/optim/autograd_optimizer.h"

namespace gradwise::bench {

BackwardSteps steps_with_backward(const Shapes& shapes, bool update_in_backward, int steps) {
  Model model;
  for (const std::vector<std::int64_t>& shape : shapes) {
    model.parameters.add(std::to_string(model.parameters.size()), at::randn(shape).mul_(0.02).requires_grad_());
  }
  model.forward = [parameters = model.parameters.tensors](const Batch&) {
    at::Tensor sum = at::zeros({});
    for (const at::Tensor& parameter : parameters) {
      sum = sum + parameter.square().sum();
    }
    return sum;
  };
  AutogradOptimizerOptions options;
  options.in_backward = update_in_backward;
  AutogradOptimizer optimizer(model, OptimizerOptions{}, options);
  const LossFunction same = [](const at::Tensor& output, const at::Tensor&) { return output; };
  const at::Tensor nothing = at::zeros({1});
  (void)optimizer.step(same, nothing, nothing);  // takes the state's memory
  BackwardSteps result;
  const PeakMemory memory;
  for (int i = 0; i < steps; ++i) {
    const auto start = std::chrono::steady_clock::now();
    (void)optimizer.step(same, nothing, nothing);
    result.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  result.peak = memory.peak();
  return result;
}

}  // namespace gradwise::bench
