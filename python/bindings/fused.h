#pragma once

#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/gradient_pass.h"

namespace gradwise::python {

/// A FusedOptimizer over the parameter groups of a torch.optim.Optimizer.
class Fused {
 public:
  /// `rule`: "adam", "sgd", "rmsprop", "adagrad" or "lion".
  Fused(const std::string& rule, bool decoupled, const py::list& param_groups, bool parity, bool bfloat16_state,
        bool stochastic_rounding);

  /// Takes over rates and options that may have changed. False, and nothing taken, where the groups hold other
  /// parameters than those that this was made for, or one asks for a gradient that had never done so.
  [[nodiscard]] bool read_groups(const py::list& param_groups);
  [[nodiscard]] double gradient_norm();
  /// A step that moves `averages`, those of `averaged`, by `share` as well.
  void update(double grad_scale, const std::vector<at::Tensor>& averaged, const std::vector<at::Tensor>& averages,
              double share);
  /// Norm of the weights, norm of the update, their ratio.
  [[nodiscard]] std::tuple<double, double, double> statistics() const;
  /// Step (float32, of no dimension) and lines of a parameter's state, as views of what the next steps count and
  /// change; None before its first step.
  [[nodiscard]] py::object lines(std::size_t index);
  /// Copies the lines.
  void set_lines(std::size_t index, std::int64_t step, const py::object& first, const py::object& second,
                 const py::object& third);
  /// The parameter begins anew.
  void forget(std::size_t index);
  [[nodiscard]] FusedOptimizer& get() { return *optimizer_; }
  [[nodiscard]] const FusedOptimizer& get() const { return *optimizer_; }

 private:
  void run(double grad_scale, const std::vector<at::Tensor>& averaged, const std::vector<at::Tensor>& averages,
           double share);
  [[nodiscard]] bool holds(const py::list& param_groups) const;

  std::unique_ptr<FusedOptimizer> optimizer_;
  std::vector<bool> trained_;  // whether each parameter asked for a gradient when this was made
  at::Tensor counts_;          // of each parameter's steps, as Python sees them
  GradientPass pass_;
};

}  // namespace gradwise::python
