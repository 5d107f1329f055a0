#pragma once

#include <torch/optim/optimizer.h>

#include <chrono>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "gradwise/optim/autograd_optimizer.h"
#include "gradwise/optim/backward_update.h"
#include "gradwise/optim/ema.h"
#include "gradwise/optim/fused_optimizer.h"
#include "gradwise/optim/gradient_pass.h"
#include "gradwise/optim/weight_statistics.h"

/// The inside of AutogradOptimizer, shared by its sources.
namespace gradwise {

/// Adds the time since construction or the last call to a figure.
class PhaseClock {
 public:
  void add_to(double& seconds) {
    const std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now();
    seconds += std::chrono::duration<double>(now - last_).count();
    last_ = now;
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

struct AutogradOptimizer::Impl {
  struct MicroBatch {
    LossFunction loss_function;
    Batch batch;
    double weight;
  };

  Impl(Model model, std::unique_ptr<torch::optim::Optimizer> optimizer, AutogradOptimizerOptions options);

  [[nodiscard]] bool scaling() const { return dtype == at::kHalf; }
  /// Scaled gradients overflow as a matter of course, whatever is asked of the others.
  [[nodiscard]] bool refuses_nonfinite() const { return scaling() || options.on_nonfinite != "ignore"; }
  /// A window that is shorter than announced: the gradients' weights do not add up to 1 yet.
  [[nodiscard]] double shortfall() const { return expected_samples / static_cast<double>(samples); }
  [[nodiscard]] bool measures_weights(const StepInfo& info) const {
    return options.weight_statistics_every > 0 && info.step % options.weight_statistics_every == 0;
  }

  /// Trains the parameters that have come to ask for a gradient since the last window.
  void take_unfrozen();
  void place_fused();

  // forward_backward.cpp: one micro-batch, and what it left
  at::Tensor forward_backward(const LossFunction& loss_function, const Batch& batch, double weight);
  void remember_buffers();
  void collect_gradients();
  void note_missing_gradients(StepInfo& info);
  void clear_gradients();
  void read_window(StepInfo& info, const at::Tensor& norm);
  void read_window(StepInfo& info, double norm);

  // apply_update.cpp: the end of a window
  [[nodiscard]] bool gradients_finite(StepInfo& info, bool unscaled_finite, double scale = 1);
  void refuse_nonfinite(StepInfo& info);
  /// Whether the update itself multiplies the gradients by what they lack; clipping by elements or units needs them
  /// whole.
  [[nodiscard]] bool scales_in_update() const {
    return fused != nullptr && (options.clip.method == "norm" || options.clip.method == "none");
  }
  /// Brings `scale` down where the update applies it, else the gradients.
  double clip(double norm, const std::optional<ClipRequest>& request, bool& clipped, double& scale);
  bool unscale(double& scale);
  void read_norm(StepInfo& info, double scale, double given);
  void update_by_gradients(StepInfo& info, const std::optional<ClipRequest>& request, double given_norm);
  void apply(StepInfo& info, double scale);
  void take_moments(StepInfo& info);
  void take_averages();
  void update_by_closure(StepInfo& info);

  // update_in_backward.cpp: the weights have moved when the window ends
  void prepare_in_backward();
  void refuse_in_backward(const std::optional<ClipRequest>& request) const;
  void note_update_in_backward(StepInfo& info);
  at::Tensor evaluate_window(StepInfo& info);
  void end_window(StepInfo& info);
  /// Forgets the micro-batches so far and their gradients.
  void drop_window();
  StepInfo finish(const std::optional<ClipRequest>& request, double given_norm);

  Model model;
  NamedParameters trainable;  // those that were unfrozen later come last
  std::vector<bool> known;    // by place in the model's parameters: is in `trainable`
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  AutogradOptimizerOptions options;
  FusedOptimizer* fused;  // the optimizer, where it is one
  GradScaler scaler;
  at::ScalarType dtype;
  std::unique_ptr<BackwardUpdate> in_backward;  // where that is asked for
  bool closure_driven;

  // The window of micro-batches under way.
  std::int64_t micro_batches = 0;
  std::int64_t samples = 0;
  double expected_samples = 0;
  std::vector<at::Tensor> losses;
  std::vector<double> loss_samples;
  std::vector<MicroBatch> kept;  // for closures
  StepTimes seconds;

  std::vector<at::Tensor> gradients;             // of this step, in the order of `with_gradient`
  std::vector<at::Tensor> with_gradient;         // parameters that have one
  std::vector<std::size_t> with_gradient_index;  // and their place in `trainable`
  std::vector<at::Tensor> guarded_buffers;
  std::vector<at::Tensor> buffer_copies;  // as of the window's start
  GradientPass gradient_pass;
  WeightStatistics weight_statistics;
  ExponentialMovingAverage* average = nullptr;
  std::int64_t average_moves = 0;
  std::vector<at::Tensor> fused_averages;  // in the order of the optimizer's parameters
  std::vector<std::size_t> fused_order;    // place in the model of each of them
  bool holds_all = false;                  // whether that optimizer has every one of `trainable`
  std::vector<WeightMoments> moments;      // by place in the model
  std::function<void(const Batch&, const at::Tensor& output, const at::Tensor& loss)> forward_listener;
  std::vector<std::string> missing;
  std::set<std::string> told;
  std::int64_t steps = 0;
  std::int64_t skipped = 0;
};

}  // namespace gradwise
