#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/model.h"
#include "gradwise/core/reading.h"
#include "gradwise/core/state.h"
#include "gradwise/core/step_info.h"
#include "gradwise/optim/clipping.h"
#include "gradwise/optim/grad_scaler.h"
#include "gradwise/optim/optimizer_options.h"
#include "gradwise/optim/scheduler.h"

namespace torch::optim {
class Optimizer;
}

namespace gradwise {

class ExponentialMovingAverage;

struct AutogradOptimizerOptions {
  ClipOptions clip = {};
  std::string on_nonfinite = "skip";
  std::string precision = "float32";
  GradScalerOptions scaler = {};
  std::int64_t weight_statistics_every = 1;
  bool in_backward = false;
};

template <class Fields>
void describe(Fields& fields, AutogradOptimizerOptions& o) {
  fields.group("clip", o.clip, "gradient clipping");
  fields.add("on_nonfinite", o.on_nonfinite, "what to do when a gradient holds inf or NaN",
             one_of({"skip", "raise", "ignore"}));
  fields.add("precision", o.precision, "type of the forward pass; not float32: autocast",
             one_of({"float32", "bfloat16", "float16"}));
  fields.group("scaler", o.scaler, "loss scaling, used with float16");
  fields.add("weight_statistics_every", o.weight_statistics_every,
             "steps between measurements of parameter norm and update ratio; 0: never", at_least(0));
  fields.add(
      "in_backward", o.in_backward,
      "update each parameter as its gradient arrives and free the gradient; clip.method norm then goes by the mean "
      "norm of the steps before",
      anything());
}

/// Clipping of one step where it differs from the options: off, or by `max_grad_norm` where the method is "norm" or
/// "none". The methods "value" and "agc" keep their own bounds.
struct ClipRequest {
  bool clip_gradients = true;
  double max_grad_norm = 1.0;
};

/// Forward, backward, clipping and update in one call, over any `torch::optim::Optimizer`. Over a FusedOptimizer, which
/// is what the options give, scaling, clipping by norm, averaging and measuring cost no pass of their own.
///
///   AutogradOptimizer optimizer(adapt(net), {.name = "adamw", .lr = 1e-3, .decay_vectors = false});
///   StepInfo done = optimizer.step(cross_entropy, images, labels);
///
/// A step whose gradients are not finite is skipped, counted and reported; no NaN reaches weights, optimizer state or
/// floating-point buffers (`on_nonfinite` = "skip"). Several micro-batches make one step:
///
///   for (const Batch& batch : window) optimizer.accumulate(loss, batch, window_size);
///   StepInfo done = optimizer.finish_step();
///
/// which equals one step on the joined batch within rounding, also where the window is shorter than announced.
///
/// A parameter that is frozen trains from when it asks for a gradient, with the rate of its group (not with lbfgs, and
/// not where an optimizer of the caller's does not hold it); `set_average` knows of it only if called after that. One
/// that is frozen meanwhile stays as it is.
///
/// With `in_backward` the weights move during backward (see BackwardUpdate) and no more than one gradient is in memory.
/// A parameter whose gradient is not finite stays as it was. Errors: an optimizer that is not Gradwise's, loss scaling,
/// another `on_nonfinite` than "skip", clipping by value or units or by a ClipRequest, a window of more than one.
class AutogradOptimizer {
 public:
  explicit AutogradOptimizer(const Model& model, const OptimizerOptions& optimizer = {},
                             AutogradOptimizerOptions options = {});
  /// Over an optimizer of the caller's, which holds some or all of the model's parameters.
  AutogradOptimizer(Model model, std::unique_ptr<torch::optim::Optimizer> optimizer,
                    AutogradOptimizerOptions options = {});
  /// By type: `AutogradOptimizer::of<torch::optim::SGD>(model, torch::optim::SGDOptions(0.1).momentum(0.9))`.
  template <class TorchOptimizer, class TorchOptions>
  [[nodiscard]] static AutogradOptimizer of(Model model, TorchOptions torch_options,
                                            AutogradOptimizerOptions options = {}) {
    auto optimizer = std::make_unique<TorchOptimizer>(model.parameters.tensors, std::move(torch_options));
    return AutogradOptimizer(std::move(model), std::move(optimizer), std::move(options));
  }
  ~AutogradOptimizer();
  AutogradOptimizer(AutogradOptimizer&&) noexcept;
  AutogradOptimizer& operator=(AutogradOptimizer&&) = delete;

  StepInfo step(const LossFunction& loss_function, const at::Tensor& input_data, const at::Tensor& target_data,
                std::optional<ClipRequest> clip = std::nullopt);

  /// Forward and backward of one of `window` micro-batches. An error here or in `finish_step` drops the
  /// window.
  void accumulate(const LossFunction& loss_function, const Batch& batch, std::int64_t window = 1);
  /// Unscales, checks, clips and updates with what was accumulated; then clears the gradients. `read_norm`: the global
  /// L2 norm of the gradients as they stand, where somebody has read them already; NaN: not known, or not finite.
  StepInfo finish_step(std::optional<ClipRequest> clip = std::nullopt, double read_norm = kNotMeasured);
  /// Drops what was accumulated; counts as a skipped step.
  StepInfo abandon_step();

  /// Called after each forward pass, before its backward, with the model's output and the loss and its graph.
  void on_forward(std::function<void(const Batch&, const at::Tensor& output, const at::Tensor& loss)> listener);
  /// What the gradients that were accumulated have to be multiplied by to be the step's: not 1 under loss scaling, or
  /// where the window is shorter than was announced.
  [[nodiscard]] double gradient_scale() const;

  /// Brings this average up to date after each update from now on, in the optimizer's own pass where it has one. It
  /// must outlive the optimizer; a null pointer ends it.
  void set_average(ExponentialMovingAverage* average);

  /// Whether updates are measured as they are made: the parameters are on the CPU, the optimizer is Gradwise's and
  /// holds all that ask for a gradient.
  [[nodiscard]] bool measures_updates() const;
  /// Weights and update of the last step, of each of the model's parameters (a count of 0 where it has never trained);
  /// empty where updates are not measured.
  [[nodiscard]] std::span<const WeightMoments> weight_moments() const;

  /// Learning rate and momentum of each parameter group, for schedulers.
  [[nodiscard]] std::vector<Rate> rates() const;
  void set_rates(const std::vector<Rate>& rates);

  [[nodiscard]] const Model& model() const;
  [[nodiscard]] torch::optim::Optimizer& torch_optimizer();
  [[nodiscard]] std::int64_t steps() const;
  [[nodiscard]] std::int64_t skipped_steps() const;
  /// Names of the parameters that ask for a gradient and had none in the last step. StepInfo::issues tells of each
  /// once.
  [[nodiscard]] const std::vector<std::string>& parameters_without_gradient() const;

  /// Moments by parameter name, counters, the scaler's scale; options are not part of it. Errors of `load_state` name
  /// what differs.
  [[nodiscard]] State state() const;
  void load_state(const State& state);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gradwise
