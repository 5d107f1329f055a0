#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/autograd/memory/peak_memory.h"
#include "gradwise/core/observer.h"
#include "gradwise/optim/ema.h"
#include "gradwise/train/checkpoint_writer.h"
#include "gradwise/train/early_stopping.h"
#include "gradwise/train/loop.h"

/// The inside of AutogradTrainingLoop, shared by the sources that hold its parts: loop.cpp (epochs and steps),
/// loop_schedule.cpp (learning rates), fit.cpp (a whole training), validation.cpp, and resume.cpp (state and
/// checkpoints).
namespace gradwise {

/// What was asked of the training while it ran.
struct StopReason {
  std::string status;  ///< as in FitResult; empty: go on
  std::string reason;
  std::string limit = {};  ///< as in FitResult
};

/// Moves a batch's tensors; a target that is not there stays so.
void move_batch(Batch& batch, at::Device device);

struct AutogradTrainingLoop::Impl {
  Impl(Model model, std::unique_ptr<torch::optim::Optimizer> optimizer, LoopOptions options);

  // loop.cpp
  /// Tells a moment, whose step, epoch and micro_batches it fills in.
  Action notify(Moment moment);
  void listen();
  void tell(Point point, Payload payload);
  // An epoch, whose start and end observers are told of.
  EpochStats told_epoch(BatchSource& source, const LossFunction& loss, at::Device device,
                        std::optional<ClipRequest> clip);
  EpochStats run_epoch(BatchSource& source, const LossFunction& loss, at::Device device,
                       std::optional<ClipRequest> clip);
  bool fill_window(BatchSource& source, const LossFunction& loss, at::Device device, double& data_seconds);
  /// `memory`: of the step, empty where it is not counted; its count ends with the update.
  void finish_window(std::optional<ClipRequest> clip, double data_seconds, std::optional<PeakMemory>& memory,
                     EpochStats& stats);
  void after_step(StepInfo& info, EpochStats& stats);
  void check_loss(StepInfo& info) const;
  void check_budgets();
  void place_on(at::Device device);

  // loop_schedule.cpp
  void make_schedule(const BatchSource& source);
  void take_up_schedule();
  /// Hands the schedule's rates to the optimizer.
  void apply_rates();
  /// One scheduler step where its unit ("step" or "epoch") has passed; a schedule that follows a metric moves only
  /// when one is given.
  void step_schedule(const char* unit, std::optional<double> metric = std::nullopt);

  // fit.cpp
  void stop_without_improvement();
  FitResult fit(BatchSource& training, BatchSource* validation, const LossFunction& loss, at::Device device);
  void fit_epochs(BatchSource& training, BatchSource* validation, const LossFunction& loss, at::Device device,
                  FitResult& result);
  [[nodiscard]] bool validate_epoch(BatchSource& validation, const LossFunction& loss, at::Device device);

  // validation.cpp
  ValidationStats validate(BatchSource& source, const LossFunction& loss, at::Device device);
  [[nodiscard]] double monitored(const ValidationStats& stats) const;

  // resume.cpp
  [[nodiscard]] Checkpoint live_state();
  void save_checkpoint(bool best);
  void save_checkpoint_if_due();
  void tell_finished_checkpoints();
  void resume(const std::filesystem::path& path, at::Device device);
  void roll_back();
  void load_weights(const Checkpoint& saved, const NamedParameters& all, State optimizer_state,
                    const std::string& path);
  void load(const Checkpoint& saved, const NamedParameters& all, const std::string& path);

  [[nodiscard]] double elapsed() const;

  LoopOptions options;
  AutogradOptimizer optimizer;
  std::optional<ExponentialMovingAverage> average;
  std::vector<Rate> rates;  // the scheduler holds a reference
  double rate_factor = 1;   // halved by each roll_back
  std::unique_ptr<Scheduler> schedule;
  std::int64_t schedule_length = 0;  // in its own steps, 0 where it has none
  std::int64_t schedule_steps = 0;   // done
  nlohmann::json resumed_schedule;   // taken up when the schedule is made
  std::int64_t resumed_length = 0;
  EarlyStopping early_stopping;
  std::unique_ptr<CheckpointWriter> writer;
  std::vector<Observer*> observers;
  std::array<std::vector<std::function<Action(const Moment&)>>, static_cast<std::size_t>(Point::train_end) + 1>
      callbacks;
  bool watched = false;  // an observer or a callback is there

  std::int64_t epoch = 0;
  std::int64_t position = 0;  // batches of the epoch that were taken
  EpochStats partial;         // of the epoch under way
  bool epoch_under_way = false;
  double seconds_before = 0;  // of earlier processes of this training
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  double last_checkpoint = 0;  // in elapsed seconds
  std::int64_t last_checkpoint_step = -1;
  std::int64_t validated_step = -1;  // of the last validation that counted
  StopReason stop;
  std::atomic<bool> stop_requested{false};
};

}  // namespace gradwise
