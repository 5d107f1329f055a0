#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/model.h"
#include "gradwise/core/observer.h"
#include "gradwise/train/loop_options.h"

namespace gradwise {

/// What an epoch did; `losses`, `grad_norms` and `learning_rates` have one entry a step.
struct EpochStats {
  std::int64_t epoch = 0;
  std::vector<double> losses;
  std::vector<double> grad_norms;
  std::vector<double> learning_rates;
  std::int64_t samples = 0;
  std::int64_t clipped_steps = 0;
  std::int64_t skipped_steps = 0;
  double peak_bytes = kNotMeasured;  ///< of the step that took most; measured where `measure_memory` is asked for
  double seconds = 0;
  double samples_per_second = 0;
  bool complete = true;  ///< false where a budget, an observer or a signal ended it early
};

struct ValidationStats {
  double validation_loss = 0;  ///< mean over the samples
  std::vector<std::pair<std::string, double>> metrics;
  std::int64_t samples = 0;
  double seconds = 0;
  /// A metric's value; an Error that lists the names where there is none.
  [[nodiscard]] double metric(const std::string& name) const;
};

struct FitResult {
  std::string status;  ///< "finished", "stopped" (budget, early stopping, observer) or "interrupted" (request_stop)
  std::string reason;
  std::string limit = {};  ///< the option that stopped it, as "max_steps"; empty where none did
  std::int64_t steps = 0;
  std::int64_t epochs = 0;
  std::vector<EpochStats> history;
  double best = kNotMeasured;  ///< of the monitored figure
  std::int64_t best_step = -1;
};

/// A training loop over any model, with schedules, accumulation, averaging, mixed precision, early stopping,
/// checkpoints and exact resume.
///
///   AutogradTrainingLoop loop(adapt(net), {.lr = 1e-3}, {.epochs = 5, .metrics = {"accuracy"}});
///   loop.fit(train_loader, &test_loader, make_loss("cross_entropy"));
///
/// Batches are moved to the model's device. Train and evaluation mode are set for the time they are needed and put
/// back. Observers are told of every point of the training and may skip a batch or an update, or stop.
class AutogradTrainingLoop {
 public:
  explicit AutogradTrainingLoop(Model model, const OptimizerOptions& optimizer = {}, LoopOptions options = {});
  AutogradTrainingLoop(Model model, std::unique_ptr<torch::optim::Optimizer> optimizer, LoopOptions options = {});
  ~AutogradTrainingLoop();
  AutogradTrainingLoop(const AutogradTrainingLoop&) = delete;
  AutogradTrainingLoop& operator=(const AutogradTrainingLoop&) = delete;

  /// One epoch, or what is left of it after `resume`. Moves the schedule; one that follows a metric (plateau) moves in
  /// `fit` alone.
  EpochStats train_epoch(BatchSource& dataloader, const LossFunction& loss_function, at::Device device = at::kCPU,
                         std::optional<ClipRequest> clip = std::nullopt);
  /// In evaluation mode, without gradients, with the averaged weights where there is an average.
  ValidationStats validate(BatchSource& dataloader, const LossFunction& loss_function, at::Device device = at::kCPU);
  /// Trains for all epochs (what is left of them after `resume`), validating on `validation` where it is given.
  FitResult fit(BatchSource& training, BatchSource* validation, const LossFunction& loss_function,
                at::Device device = at::kCPU);

  /// Makes the schedule for a training on `training` now, so that options that don't fit its length are refused before
  /// any work; `fit` and `train_epoch` do it otherwise.
  void prepare(const BatchSource& training);

  /// The observer must live as long as the loop is used.
  void add_observer(Observer& observer);
  /// Calls `callback` at one point.
  void on(Point point, std::function<Action(const Moment&)> callback);
  /// Ends the training after the step under way, with a checkpoint. Safe from any thread and from signal handlers. A
  /// `fit` that ends by it has taken the request; `train_epoch` leaves it standing, for the loop around it.
  void request_stop() noexcept;

  /// Saves a checkpoint now and waits until it is on disk; returns its folder.
  std::filesystem::path save_checkpoint();
  /// Moves the model to the device and takes everything back from a checkpoint's folder; the next `fit` goes on from
  /// there. Throws before anything is changed where names or shapes differ from the model's. Options are not part of a
  /// checkpoint: with other epochs, the schedule is that of the new length.
  void resume(const std::filesystem::path& checkpoint, at::Device device = at::kCPU);

  [[nodiscard]] AutogradOptimizer& optimizer();
  [[nodiscard]] ExponentialMovingAverage* ema();
  [[nodiscard]] const Model& model() const;
  [[nodiscard]] std::int64_t steps() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gradwise
