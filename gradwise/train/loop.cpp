#include "gradwise/train/loop.h"

#include <ATen/Context.h>
#include <torch/optim/optimizer.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "gradwise/core/error.h"
#include "gradwise/core/step_info.h"
#include "gradwise/optim/torch_optimizers.h"
#include "gradwise/train/loop_impl.h"
#include "gradwise/train/metrics.h"

namespace gradwise {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

class DeterministicGuard {
 public:
  explicit DeterministicGuard(bool wanted)
      : before_(at::globalContext().deterministicAlgorithms()),
        warn_only_(at::globalContext().deterministicAlgorithmsWarnOnly()) {
    if (wanted) {
      at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    }
  }
  ~DeterministicGuard() { at::globalContext().setDeterministicAlgorithms(before_, warn_only_); }
  DeterministicGuard(const DeterministicGuard&) = delete;
  DeterministicGuard& operator=(const DeterministicGuard&) = delete;

 private:
  bool before_;
  bool warn_only_;
};

void check_options(const LoopOptions& options) {
  check_fields("train", options);
  for (const std::string& name : options.metrics) {
    (void)make_metric(name);
  }
  const bool known =
      options.monitor == "loss" || std::ranges::find(options.metrics, options.monitor) != options.metrics.end();
  GRADWISE_CHECK(known, "train", "monitor is \"", options.monitor, "\", allowed: loss or one of metrics");
}

}  // namespace

void move_batch(Batch& batch, at::Device device) {
  batch.input = batch.input.to(device);
  if (batch.target.defined()) {
    batch.target = batch.target.to(device);
  }
  for (at::Tensor& tensor : batch.extra) {
    tensor = tensor.to(device);
  }
}

AutogradTrainingLoop::Impl::Impl(Model model, std::unique_ptr<torch::optim::Optimizer> torch_optimizer,
                                 LoopOptions given)
    : options(std::move(given)),
      optimizer(std::move(model), std::move(torch_optimizer), options.step),
      rates(optimizer.rates()),
      early_stopping(options.early_stopping, larger_is_better(options.monitor)) {
  check_options(options);
  if (options.use_ema) {
    average.emplace(optimizer.model().parameters, options.ema, optimizer.model().buffers);
    optimizer.set_average(&*average);
  }
  if (!options.checkpoint.folder.empty()) {
    writer = std::make_unique<CheckpointWriter>(options.checkpoint.folder, options.checkpoint.keep_last);
  }
}

double AutogradTrainingLoop::Impl::elapsed() const { return seconds_before + seconds_between(started, Clock::now()); }

Action AutogradTrainingLoop::Impl::notify(Moment moment) {
  if (!watched) {
    return Action::proceed;
  }
  moment.step = optimizer.steps();
  moment.epoch = epoch;
  moment.micro_batches = options.accumulate;
  Action strongest = Action::proceed;
  for (Observer* observer : observers) {
    strongest = std::max(strongest, observer->on(moment));
  }
  for (const auto& callback : callbacks[static_cast<std::size_t>(moment.point)]) {
    strongest = std::max(strongest, callback(moment));
  }
  if (strongest == Action::stop && stop.status.empty()) {
    stop = {"stopped", "an observer asked for it"};
  }
  return strongest;
}

void AutogradTrainingLoop::Impl::tell(Point point, Payload payload) {
  if (watched) {
    const Event event = make_event(optimizer.steps(), std::move(payload));
    notify({.point = point, .event = &event});
  }
}

// Forward passes are told from inside the optimizer's step, once somebody listens.
void AutogradTrainingLoop::Impl::listen() {
  watched = true;
  optimizer.on_forward([this](const Batch& batch, const at::Tensor& output, const at::Tensor& loss) {
    notify({.point = Point::forward_end, .batch = &batch, .output = &output, .loss = &loss});
  });
}

void AutogradTrainingLoop::Impl::place_on(at::Device device) {
  const Model& model = optimizer.model();
  if (model.parameters.tensors.front().device() != device) {
    GRADWISE_CHECK(model.to != nullptr, "train", "the model is on ", model.parameters.tensors.front().device(),
                   " and can't be moved to ", device);
    model.to(device);
    if (average) {
      average->to(device);
    }
  }
}

// Forward and backward of up to `accumulate` batches; false where the epoch had none left.
bool AutogradTrainingLoop::Impl::fill_window(BatchSource& source, const LossFunction& loss, at::Device device,
                                             double& data_seconds) {
  Batch batch;
  std::int64_t taken = 0;
  while (taken < options.accumulate) {
    const Clock::time_point start = Clock::now();
    const bool more = source.next(batch);
    data_seconds += seconds_between(start, Clock::now());
    if (!more) {
      break;
    }
    ++position;
    if (notify({.point = Point::batch_start, .batch = &batch}) == Action::skip) {
      continue;
    }
    move_batch(batch, device);
    optimizer.accumulate(loss, batch, options.accumulate);
    ++taken;
  }
  return taken > 0;
}

void AutogradTrainingLoop::Impl::check_loss(StepInfo& info) const {
  if (std::isfinite(info.loss) || options.step.on_nonfinite == "ignore") {
    return;
  }
  if (info.step == 1) {
    fail("train", "the loss of the first step is ", plain_nan(info.loss),
         ": look for inf or NaN in the data, the initial weights or the loss");
  }
  Issue issue;
  issue.severity = Issue::Severity::error;
  issue.rule = "nonfinite_loss";
  issue.step = info.step;
  issue.value = info.loss;
  issue.message = "the loss is not finite";
  issue.advice = "lower the learning rate or look for a bad input";
  info.issues.push_back(std::move(issue));
}

void AutogradTrainingLoop::Impl::check_budgets() {
  if (stop_requested.load(std::memory_order_relaxed)) {
    stop = {"interrupted", "a stop was requested"};
  } else if (!stop.status.empty()) {
    return;
  } else if (options.max_steps > 0 && optimizer.steps() >= options.max_steps) {
    stop = {"stopped", "max_steps = " + std::to_string(options.max_steps) + " is reached", "max_steps"};
  } else if (options.max_seconds > 0 && elapsed() >= options.max_seconds) {
    stop = {"stopped", "max_seconds is reached", "max_seconds"};
  }
}

void AutogradTrainingLoop::Impl::after_step(StepInfo& info, EpochStats& stats) {
  stats.losses.push_back(info.loss);
  stats.grad_norms.push_back(info.grad_norm);
  stats.learning_rates.push_back(info.lr);
  stats.samples += info.samples;
  stats.clipped_steps += info.clipped ? 1 : 0;
  stats.skipped_steps += info.skipped ? 1 : 0;
  stats.peak_bytes = std::fmax(stats.peak_bytes, info.peak_bytes);  // NaN gives way
  step_schedule("step");
  if (watched) {
    const std::int64_t step = info.step;
    const Event event = make_event(step, std::move(info));
    if (notify({.point = Point::step_end, .event = &event, .weights = optimizer.weight_moments()}) ==
        Action::roll_back) {
      roll_back();
    }
  }
}

void AutogradTrainingLoop::Impl::finish_window(std::optional<ClipRequest> clip, double data_seconds,
                                               std::optional<PeakMemory>& memory, EpochStats& stats) {
  double norm = kNotMeasured;
  const bool drop = notify({.point = Point::backward_end,
                            .gradient_scale = optimizer.gradient_scale(),
                            .measured_update = optimizer.measures_updates(),
                            .gradient_norm = &norm}) == Action::skip;
  // A callback may have changed the gradients since they were read.
  const bool changed = !callbacks[static_cast<std::size_t>(Point::backward_end)].empty();
  StepInfo info = drop ? optimizer.abandon_step() : optimizer.finish_step(clip, changed ? kNotMeasured : norm);
  info.epoch = epoch;
  info.seconds.data = data_seconds;
  info.seconds.total += data_seconds;
  info.peak_bytes = memory ? static_cast<double>(memory->peak()) : kNotMeasured;
  memory.reset();  // before observers of the step: a profiler that one of them starts would end with it
  check_loss(info);
  after_step(info, stats);
}

EpochStats AutogradTrainingLoop::Impl::run_epoch(BatchSource& source, const LossFunction& loss, at::Device device,
                                                 std::optional<ClipRequest> clip) {
  const DeterministicGuard deterministic(options.deterministic);
  place_on(device);
  make_schedule(source);
  const TrainingModeGuard training(optimizer.model(), true);
  if (!std::exchange(epoch_under_way, true)) {
    partial = {};
    partial.epoch = epoch;
  }
  const double seconds_of_others = partial.seconds;
  const Clock::time_point start = Clock::now();
  check_budgets();
  source.start(epoch, position);
  bool more = stop.status.empty();
  while (more) {
    double data_seconds = 0;
    std::optional<PeakMemory> memory;
    if (options.measure_memory && !PeakMemory::profiler_runs()) {
      memory.emplace();
    }
    more = fill_window(source, loss, device, data_seconds);
    if (more) {
      finish_window(clip, data_seconds, memory, partial);
      partial.seconds = seconds_of_others + seconds_between(start, Clock::now());
      check_budgets();
      save_checkpoint_if_due();
      more = stop.status.empty();
    }
  }
  partial.complete = stop.status.empty();
  partial.samples_per_second = partial.seconds > 0 ? static_cast<double>(partial.samples) / partial.seconds : 0;
  EpochStats stats = partial;
  if (stats.complete) {
    step_schedule("epoch");
    ++epoch;
    position = 0;
    epoch_under_way = false;
  }
  return stats;
}

AutogradTrainingLoop::AutogradTrainingLoop(Model model, const OptimizerOptions& optimizer, LoopOptions options) {
  auto torch_optimizer = make_optimizer(optimizer, model.parameters);
  impl_ = std::make_unique<Impl>(std::move(model), std::move(torch_optimizer), std::move(options));
}

AutogradTrainingLoop::AutogradTrainingLoop(Model model, std::unique_ptr<torch::optim::Optimizer> optimizer,
                                           LoopOptions options)
    : impl_(std::make_unique<Impl>(std::move(model), std::move(optimizer), std::move(options))) {}

AutogradTrainingLoop::~AutogradTrainingLoop() = default;

EpochStats AutogradTrainingLoop::train_epoch(BatchSource& dataloader, const LossFunction& loss_function,
                                             at::Device device, std::optional<ClipRequest> clip) {
  impl_->stop = {};
  return impl_->told_epoch(dataloader, loss_function, device, clip);
}

ValidationStats AutogradTrainingLoop::validate(BatchSource& dataloader, const LossFunction& loss_function,
                                               at::Device device) {
  return impl_->validate(dataloader, loss_function, device);
}

FitResult AutogradTrainingLoop::fit(BatchSource& training, BatchSource* validation, const LossFunction& loss_function,
                                    at::Device device) {
  return impl_->fit(training, validation, loss_function, device);
}

void AutogradTrainingLoop::prepare(const BatchSource& training) { impl_->make_schedule(training); }

void AutogradTrainingLoop::add_observer(Observer& observer) {
  impl_->observers.push_back(&observer);
  impl_->listen();
}

void AutogradTrainingLoop::on(Point point, std::function<Action(const Moment&)> callback) {
  impl_->callbacks[static_cast<std::size_t>(point)].push_back(std::move(callback));
  impl_->listen();
}

void AutogradTrainingLoop::request_stop() noexcept { impl_->stop_requested.store(true, std::memory_order_relaxed); }

AutogradOptimizer& AutogradTrainingLoop::optimizer() { return impl_->optimizer; }
ExponentialMovingAverage* AutogradTrainingLoop::ema() { return impl_->average ? &*impl_->average : nullptr; }
const Model& AutogradTrainingLoop::model() const { return impl_->optimizer.model(); }
std::int64_t AutogradTrainingLoop::steps() const { return impl_->optimizer.steps(); }

}  // namespace gradwise
