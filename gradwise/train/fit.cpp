#include <numeric>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/train/loop_impl.h"

namespace gradwise {
namespace {

double mean_of(const std::vector<double>& values) {
  return values.empty() ? kNotMeasured
                        : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

EpochFinished summary_of(const EpochStats& stats) {
  EpochFinished done;
  done.epoch = stats.epoch;
  done.mean_loss = mean_of(stats.losses);
  done.mean_grad_norm = mean_of(stats.grad_norms);
  done.samples_per_second = stats.samples_per_second;
  done.seconds = stats.seconds;
  return done;
}

}  // namespace

// Returns whether the monitored figure is the best so far.
bool AutogradTrainingLoop::Impl::validate_epoch(BatchSource& validation, const LossFunction& loss, at::Device device) {
  const ValidationStats stats = validate(validation, loss, device);
  validated_step = optimizer.steps();
  const double figure = monitored(stats);
  const bool best = early_stopping.update(figure, optimizer.steps());
  Validated seen;
  seen.epoch = epoch - (epoch_under_way ? 0 : 1);
  seen.data = "validation";
  seen.loss = stats.validation_loss;
  seen.metrics = stats.metrics;
  seen.seconds = stats.seconds;
  seen.averaged = average.has_value();
  seen.best = best;
  tell(Point::validation_end, std::move(seen));
  step_schedule("epoch", figure);
  stop_without_improvement();
  return best;
}

void AutogradTrainingLoop::Impl::stop_without_improvement() {
  if (early_stopping.should_stop() && stop.status.empty()) {
    stop = {"stopped",
            options.monitor + " did not improve in " + std::to_string(early_stopping.waited()) + " validations",
            "early_stopping.patience"};
  }
}

EpochStats AutogradTrainingLoop::Impl::told_epoch(BatchSource& source, const LossFunction& loss, at::Device device,
                                                  std::optional<ClipRequest> clip) {
  if (position == 0) {
    notify({.point = Point::epoch_start});
  }
  EpochStats stats = run_epoch(source, loss, device, clip);
  if (stats.complete) {
    tell(Point::epoch_end, summary_of(stats));
  }
  return stats;
}

void AutogradTrainingLoop::Impl::fit_epochs(BatchSource& training, BatchSource* validation, const LossFunction& loss,
                                            at::Device device, FitResult& result) {
  while (epoch < options.epochs && stop.status.empty()) {
    EpochStats stats = told_epoch(training, loss, device, std::nullopt);
    const bool complete = stats.complete;
    result.history.push_back(std::move(stats));
    const bool last = epoch >= options.epochs || stop.status == "stopped";
    const bool due = complete && epoch % options.validate_every == 0;
    const bool seen = validated_step == optimizer.steps();  // before a resume that has nothing left to do
    const bool best = validation != nullptr && (due || last) && !seen && validate_epoch(*validation, loss, device);
    // Last, so that a checkpoint holds all that the end of an epoch changes.
    check_budgets();
    const bool keep = best && options.checkpoint.keep_best;
    if (writer && (keep || last || !stop.status.empty() || (complete && options.checkpoint.every_epoch))) {
      last_checkpoint_step = -1;  // one of this very step may be from before the end of the epoch
      save_checkpoint(keep);
    }
  }
}

FitResult AutogradTrainingLoop::Impl::fit(BatchSource& training, BatchSource* validation, const LossFunction& loss,
                                          at::Device device) {
  GRADWISE_CHECK(training.batches_per_epoch() != 0, "train", "the training data has no batch");
  FitResult result;
  stop = {};
  started = std::chrono::steady_clock::now();
  notify({.point = Point::train_start});
  try {
    if (epoch < options.epochs && validation != nullptr) {
      stop_without_improvement();  // a resumed training that had stopped so has nothing left to do
    }
    fit_epochs(training, validation, loss, device, result);
    if (writer) {
      writer->wait();
      tell_finished_checkpoints();
    }
  } catch (const std::exception& error) {
    tell(Point::exception, Message{Message::Level::error, error.what()});
    throw;
  }
  seconds_before = elapsed();
  started = std::chrono::steady_clock::now();
  if (stop.status == "interrupted") {
    stop_requested.store(false, std::memory_order_relaxed);
  }
  result.status = stop.status.empty() ? "finished" : stop.status;
  result.reason = stop.reason.empty() ? "all epochs are done" : stop.reason;
  result.limit = stop.limit;
  result.steps = optimizer.steps();
  result.epochs = epoch;
  result.best = early_stopping.best();
  result.best_step = early_stopping.best_step();
  notify({.point = Point::train_end});
  return result;
}

}  // namespace gradwise
