#pragma once

#include <torch/csrc/utils/pybind.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gradwise/core/event.h"
#include "gradwise/core/model.h"
#include "gradwise/monitor/training_monitor.h"
#include "python/bindings/fast_function.h"
#include "python/bindings/fused.h"
#include "python/bindings/recording.h"
#include "python/bindings/step_clock.h"

namespace gradwise::python {

/// A TrainingMonitor that a loop in Python tells of its steps.
class Watching {
 public:
  Watching(const py::object& module, const py::dict& facts, const py::dict& options, const std::string& run);

  /// Activations, while the loss's graph stands.
  void forward_end(const at::Tensor& loss);

  /// Gradients, complete; what they stand in for is multiplied by `scale`. `fused` measures the update that follows.
  void backward_end(double scale, const Fused* fused) { told_norm_ = read_gradients(scale, fused); }

  /// Updates come before the steps that tell of them.
  void expect_late_steps() { monitor_->watch().keep_weights(); }

  /// Gradients have come within the update, of the batch once more: they are none of the next step's.
  void drop_gradients();

  /// The optimizer is about to step: ends the step that waits for its loss, and reads the gradients unless
  /// `backward_end` has.
  void begin_update(double scale, double lr, double loss_scale, const Fused* fused);

  /// It has stepped, or skipped its step. Takes what `fused` has measured of the update, before the loop may replace
  /// it.
  void end_update(bool skipped, const Fused* fused);

  /// Both as hooks of the one optimizer of a watch, which has no loss scale and does not measure its updates; the call
  /// is (slow, optimizer, args, kwargs). A step with arguments, a closure say, is left to `slow`, which takes the rest.
  py::object before_step(Arguments<4> call);
  py::object after_step(Arguments<4> call);

  /// A step whose update no optimizer tells of.
  void end_alone(double scale, double loss_scale, const Fused* fused);

  /// A step that a loss scaler has kept the optimizer from.
  void end_skipped(double lr, double loss_scale, const Fused* fused);

  /// Says how many backward passes a step has: its gradients are read after the last of them, and at `backward_end`
  /// where there are fewer.
  void expect_backwards(std::int64_t count);

  /// A loss of the step under way: of several, those of micro-batches, the mean is the step's. Where the loop tells
  /// each loss between its backward pass and the optimizer's step, one that comes after another pass is the next
  /// step's.
  void tell_loss(double loss);

  /// Ends the step that waits for its loss: weights and update, and the rules. Gives the issues that are new since the
  /// last call; None where no step has ended.
  py::object finish(std::optional<std::int64_t> samples);

  /// Both for the usual: an optimizer that has stepped, and a loss that is a float, a real tensor of one element or
  /// None. NotImplemented for all else, with nothing done.
  py::object finish_with(Arguments<1> loss);

  /// Figures of the last step that was ended; empty before the first.
  [[nodiscard]] py::dict last_step() const;

  /// The last ones, also after `close`.
  [[nodiscard]] py::dict readings() const;
  [[nodiscard]] py::list diagnosis() const;
  void close(const std::string& status, const std::string& reason);
  [[nodiscard]] const std::shared_ptr<StepClock>& clock() const { return clock_; }
  /// Stands in for the loss of steps that none is told of.
  void suppose_loss(double loss) { supposed_loss_ = loss; }
  /// Whether the optimizer is at a step, or one waits for its loss.
  [[nodiscard]] bool told_before_update() const { return told_before_update_; }
  [[nodiscard]] bool under_way() const { return step_.has_value(); }
  [[nodiscard]] bool closed() const { return monitor_ == nullptr; }
  [[nodiscard]] std::int64_t steps() const { return steps_; }

 private:
  double read_gradients(double scale, const Fused* fused);
  void put(double norm, double lr, double loss_scale);
  void take_moments(const Fused* fused);

  void finish_waiting();
  // From now on the step waits for its loss alone.
  void end_step();
  void record(Event event);

  // Where each of the model's parameters stands in the optimizer; empty unless it holds and measures all that train.
  void place_fused(const Fused* fused);

  Model model_;
  std::unique_ptr<Recording> recording_;
  std::unique_ptr<TrainingMonitor> monitor_;
  std::shared_ptr<StepClock> clock_ = std::make_shared<StepClock>();
  std::optional<StepInfo> step_;  // that the optimizer is at or has made
  bool ready_ = false;            // whether it waits for nothing but its loss
  StepInfo last_;
  std::optional<double> told_norm_;  // where `backward_end` was called for the step under way
  std::optional<double> supposed_loss_;
  double told_loss_ = 0;  // sum over the step under way
  std::int64_t losses_ = 0;
  std::int64_t arrivals_at_loss_ = 0;  // of gradients, when the last one was told
  bool told_before_update_ = false;    // whether the update's own loss was
  std::optional<std::int64_t> told_samples_;
  std::vector<Issue> news_;
  bool ended_ = false;  // a step, since `finish` was called
  std::int64_t steps_ = 0;
  std::int64_t skipped_ = 0;
  const Fused* placed_ = nullptr;
  std::shared_ptr<const RunFacts> placed_facts_;  // what trained when that was placed
  std::vector<std::optional<std::size_t>> fused_order_;
  std::vector<WeightMoments> moments_;
  bool measured_ = false;
  py::dict last_readings_;
};

}  // namespace gradwise::python
