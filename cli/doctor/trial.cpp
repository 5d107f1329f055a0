#include "cli/doctor/trial.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <utility>

#include "cli/config/run_facts.h"
#include "cli/data/datasets.h"
#include "cli/models/model_factory.h"
#include "gradwise/autograd/find_nonfinite.h"
#include "gradwise/core/error.h"
#include "gradwise/core/random_state.h"
#include "gradwise/monitor/causes.h"
#include "gradwise/monitor/training_monitor.h"
#include "gradwise/train/checkpoint.h"
#include "gradwise/train/loop.h"

namespace gradwise {
namespace {

// Everything is looked at often: a trial is short.
MonitorOptions close_watch(MonitorOptions watch) {
  watch.enabled = true;
  watch.gradients.every = watch.gradients.weights_every = 1;
  watch.activations_every = watch.batches_every = watch.rules.every = 2;
  watch.probe_every = 5;
  watch.stop_on.clear();
  watch.skip_on.clear();
  watch.roll_back_on.clear();
  return watch;
}

RunConfig for_trial(RunConfig config) {
  config.train.checkpoint.folder.clear();
  config.train.max_steps = 0;
  config.train.max_seconds = 0;
  config.train.early_stopping.patience = 0;
  config.train.step.weight_statistics_every = 1;
  return config;
}

std::int64_t steps_done(const std::filesystem::path& checkpoint) {
  for (const CheckpointPlace& place : list_checkpoints(checkpoint.parent_path())) {
    if (place.path == checkpoint) {
      return place.step;
    }
  }
  return 0;
}

// A run that is at its end goes on for as many epochs as the trial takes.
void make_room(RunConfig& config, const DataLoader& train, std::int64_t steps,
               const std::filesystem::path& checkpoint) {
  const std::int64_t per_epoch = std::max<std::int64_t>(1, train.batches_per_epoch() / config.train.accumulate);
  config.train.epochs = std::max(config.train.epochs, (steps_done(checkpoint) + steps) / per_epoch + 1);
}

// Whether a finding, which was there no later, explains numbers that are none from this step on.
bool explains_nonfinite(const Finding& finding, std::int64_t step) {
  const auto& all = causes();
  const auto cause =
      std::find_if(all.begin(), all.end(), [&finding](const Cause& c) { return c.name == finding.cause; });
  return cause != all.end() && finding.step <= step &&
         std::find(cause->brings.begin(), cause->brings.end(), "nonfinite_operator") != cause->brings.end();
}

// The step at which the training's numbers broke.
std::int64_t first_broken_step(const Trial& trial, std::int64_t start) {
  const auto broken =
      std::find_if(trial.losses.begin(), trial.losses.end(), [](double x) { return !std::isfinite(x); });
  std::int64_t step = start + std::min<std::int64_t>(broken - trial.losses.begin() + 1, std::ssize(trial.losses));
  for (const Finding& finding : trial.findings) {
    if (finding.cause == "nonfinite_operator") {
      step = std::min(step, finding.step);
    }
  }
  return std::max<std::int64_t>(step, start + 1);
}

// The operator that made the first inf or NaN: a symptom of what explains it and came before, else a finding of its
// own.
void name_operator(const Model& model, const LossFunction& loss, DataLoader& loader, std::int64_t start, Trial& trial) {
  Batch batch;
  loader.start(0, 0);
  if (!loader.next(batch)) {
    return;
  }
  const std::optional<NonfiniteOrigin> origin = find_nonfinite(model, loss, batch.input, batch.target);
  if (!origin) {
    return;
  }
  const std::int64_t step = first_broken_step(trial, start);
  const Issue issue{.severity = Severity::error,
                    .rule = "find_nonfinite",
                    .layer = origin->layer,
                    .step = step,
                    .message = origin->message,
                    .advice = origin->advice};
  const auto root = std::find_if(trial.findings.begin(), trial.findings.end(),
                                 [step](const Finding& finding) { return explains_nonfinite(finding, step); });
  if (root != trial.findings.end()) {
    root->symptoms.insert(root->symptoms.begin(), issue);
    return;
  }
  Finding found{.cause = "nonfinite_operator",
                .title = "an operator makes inf or NaN",
                .layer = origin->layer,
                .step = step,
                .confidence = 0.95,
                .evidence = {issue},
                .remedy = origin->advice};
  const auto guess = std::find_if(trial.findings.begin(), trial.findings.end(),
                                  [](const Finding& finding) { return finding.cause == "nonfinite_operator"; });
  if (guess != trial.findings.end()) {
    found.confidence = std::max(found.confidence, guess->confidence);
    found.evidence.insert(found.evidence.end(), guess->evidence.begin(), guess->evidence.end());
    found.symptoms = guess->symptoms;
    trial.findings.erase(guess);
  }
  trial.findings.insert(trial.findings.begin(), std::move(found));
  std::stable_sort(trial.findings.begin(), trial.findings.end(),
                   [](const Finding& a, const Finding& b) { return a.confidence > b.confidence; });
}

LossFunction loss_in_own_units(const LossFunction& loss, const TargetScaling& scaling) {
  return [loss, scaling](const at::Tensor& output, const at::Tensor& target) {
    return loss(in_own_units(output, scaling), in_own_units(target, scaling));
  };
}

}  // namespace

double Trial::final_loss() const {
  if (!error.empty() || losses.empty()) {
    return std::numeric_limits<double>::infinity();
  }
  const std::size_t last = std::max<std::size_t>(1, losses.size() / 10);
  double sum = 0;
  for (std::size_t i = losses.size() - last; i < losses.size(); ++i) {
    sum += losses[i];
  }
  const double mean = sum / static_cast<double>(last);
  return std::isfinite(mean) ? mean : std::numeric_limits<double>::infinity();
}

double Trial::figure() const {
  const double trained = final_loss();
  return std::isnan(held_out) || std::isinf(trained) ? trained
         : std::isfinite(held_out_in_own_units)      ? held_out_in_own_units
                                                     : std::numeric_limits<double>::infinity();
}

std::int64_t warmup_left(const RunConfig& config, const std::filesystem::path& checkpoint) {
  const ScheduleOptions& schedule = config.train.schedule;
  if (schedule.warmup_steps == 0 || schedule.name == "plateau") {  // that one has none
    return 0;
  }
  const std::int64_t unit = schedule.per == "step" ? 1 : steps_per_epoch(config, *load_data(config).train);
  const std::int64_t done = checkpoint.empty() ? 0 : steps_done(checkpoint);
  return std::max<std::int64_t>(0, schedule.warmup_steps * unit - done);
}

Trial run_trial(const RunConfig& asked, std::int64_t steps, const std::filesystem::path& checkpoint) {
  RunConfig config = for_trial(asked);
  RunData data = load_data(config);
  config.train.target_scaling = data.target_scaling;
  if (!checkpoint.empty()) {
    make_room(config, *data.train, steps, checkpoint);
  }
  seed_everything(static_cast<std::uint64_t>(config.train.seed));
  AutogradTrainingLoop loop(build_model(config.model, data.shape), config.optimizer, config.train);
  if (!checkpoint.empty()) {
    loop.resume(checkpoint);
  }
  const LossFunction loss = make_loss(config.loss.name, config.loss.label_smoothing);
  TrainingMonitor monitor(loop.model(), run_facts(config, data), close_watch(config.watch));
  monitor.probe_with(loss);
  loop.add_observer(monitor);
  Trial trial;
  const std::int64_t start = loop.steps();
  const std::int64_t end = start + steps;
  loop.on(Point::step_end, [&trial, end](const Moment& moment) {
    trial.losses.push_back(std::get<StepInfo>(moment.event->payload).loss);
    return moment.step >= end ? Action::stop : Action::proceed;
  });
  const auto started = std::chrono::steady_clock::now();
  try {
    (void)loop.fit(*data.train, nullptr, loss);
    if (data.test) {
      const ValidationStats seen = loop.validate(*data.test, loss);
      trial.held_out = seen.validation_loss;
      trial.metrics = seen.metrics;
      trial.held_out_in_own_units =
          data.target_scaling.empty()
              ? trial.held_out
              : loop.validate(*data.test, loss_in_own_units(loss, data.target_scaling)).validation_loss;
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::usage) {
      throw;
    }
    trial.error = error.what();
  }
  trial.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  trial.findings = monitor.diagnosis().findings();
  if (!std::isfinite(trial.final_loss())) {
    name_operator(loop.model(), loss, *data.train, start, trial);
  }
  return trial;
}

}  // namespace gradwise
