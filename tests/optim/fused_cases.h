#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/torch_optimizers.h"
#include "tests/optim/toy_model.h"

/// FusedOptimizers over tensors, for their tests.
namespace gradwise {

inline NamedParameters named(const std::vector<at::Tensor>& tensors) {
  NamedParameters parameters;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    at::Tensor(tensors[i]).requires_grad_();
    parameters.add("p" + std::to_string(i), tensors[i]);
  }
  return parameters;
}

inline std::unique_ptr<FusedOptimizer> fused(const std::vector<at::Tensor>& tensors,
                                             const OptimizerOptions& options = {}) {
  auto made = make_optimizer(options, named(tensors));
  return std::unique_ptr<FusedOptimizer>(dynamic_cast<FusedOptimizer*>(made.release()));
}

inline void give_gradients(const std::vector<at::Tensor>& tensors, unsigned int seed) {
  for (const at::Tensor& tensor : tensors) {
    at::Tensor(tensor).mutable_grad() = random_tensor(tensor.sizes(), seed++, tensor.scalar_type());
  }
}

inline void take_steps(FusedOptimizer& optimizer, const std::vector<at::Tensor>& tensors, int steps,
                       unsigned int seed = 50) {
  for (int i = 0; i < steps; ++i) {
    give_gradients(tensors, seed + static_cast<unsigned int>(100 * i));
    optimizer.step();
  }
}

inline void expect_near(const at::Tensor& a, const at::Tensor& b, double tolerance) {
  EXPECT_TRUE(a.detach().to(at::kDouble).allclose(b.detach().to(at::kDouble), tolerance, tolerance))
      << "largest difference " << a.detach().sub(b.detach()).abs().max().item<double>();
}

inline const std::vector<std::string>& names() {
  static const std::vector<std::string> all{"adamw", "adam", "sgd", "rmsprop", "adagrad", "lion"};
  return all;
}

inline OptimizerOptions options_of(const std::string& name) {
  OptimizerOptions options;
  options.name = name;
  options.lr = 0.01;
  options.momentum = name == "sgd" || name == "rmsprop" ? 0.9 : 0;
  return options;
}

}  // namespace gradwise
