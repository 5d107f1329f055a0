#pragma once

#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <string>
#include <tuple>

#include "gradwise/optim/ema.h"
#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/gradient_pass.h"

namespace gradwise::python {

/// A FusedOptimizer over the parameter groups of a torch.optim.Optimizer.
class Fused {
 public:
  /// `rule`: "adam" or "sgd".
  Fused(const std::string& rule, bool decoupled, const py::list& param_groups);

  /// Takes over rates and options that may have changed.
  void read_groups(const py::list& param_groups);
  [[nodiscard]] double gradient_norm();
  void update(double grad_scale, ExponentialMovingAverage* average);
  /// Norm of the weights, norm of the update, their ratio.
  [[nodiscard]] std::tuple<double, double, double> statistics() const;
  /// Step and lines of a parameter's state, as views; None before its first step.
  [[nodiscard]] py::object lines(std::size_t index);
  void set_lines(std::size_t index, std::int64_t step, const py::object& first, const py::object& second,
                 const py::object& third);
  [[nodiscard]] FusedOptimizer& get() { return *optimizer_; }
  [[nodiscard]] const FusedOptimizer& get() const { return *optimizer_; }

 private:
  std::unique_ptr<FusedOptimizer> optimizer_;
  GradientPass pass_;
};

}  // namespace gradwise::python
