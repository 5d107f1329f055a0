#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gradwise/core/event.h"

namespace gradwise {

// A small run made up for tests: two epochs of five steps, one second a step, an event of every kind.

inline constexpr double kSyntheticStart = 1'700'000'000;
inline constexpr std::int64_t kSyntheticSteps = 10;
inline constexpr std::int64_t kStepsPerEpoch = 5;
inline constexpr std::int64_t kSkippedStep = 4;  // its loss and norm are NaN, and it has an issue

inline Event event_after(double seconds, std::int64_t step, Payload payload) {
  return {kSyntheticStart + seconds, step, std::move(payload)};
}

inline Issue synthetic_issue(std::int64_t step) {
  Issue issue;
  issue.severity = Issue::Severity::error;
  issue.rule = "nonfinite_gradient";
  issue.layer = "body.0.weight";
  issue.step = step;
  issue.value = 3;
  issue.threshold = 0;
  issue.message = "3 values of the gradient are not finite";
  issue.advice = "lower the learning rate";
  return issue;
}

inline StepInfo synthetic_step(std::int64_t step) {
  const auto x = static_cast<double>(step);
  StepInfo info;
  info.step = step;
  info.epoch = (step - 1) / kStepsPerEpoch;
  info.samples = 64;
  info.micro_batches = 2;
  info.loss = 2 / x;
  info.grad_norm = x;
  info.grad_norm_clipped = std::min(x, 6.0);
  info.clipped = x > 6;
  info.skipped_in_all = step >= kSkippedStep ? 1 : 0;
  info.lr = 0.001 * x;
  info.param_norm = 10 + x;
  info.update_norm = 0.01 * x;
  info.update_ratio = 0.001 * x;
  info.loss_scale = 1024;
  info.peak_bytes = x * 1024 * 1024;
  info.seconds.data = 0.01;
  info.seconds.forward = 0.02;
  info.seconds.backward = 0.03;
  info.seconds.clip = 0.004;
  info.seconds.update = 0.016;
  info.seconds.total = 0.08;
  if (step == kSkippedStep) {
    info.loss = kNotMeasured;
    info.grad_norm = kNotMeasured;
    info.skipped = true;
    info.issues.push_back(synthetic_issue(step));
  }
  return info;
}

inline RunStarted synthetic_start() {
  RunStarted started;
  started.name = "made-up";
  started.model = "mlp 4-8-2";
  started.device = "cpu";
  started.parameters = 58;
  started.threads = 2;
  started.epochs = 2;
  started.steps_per_epoch = kStepsPerEpoch;
  return started;
}

inline EpochFinished synthetic_epoch(std::int64_t epoch) {
  EpochFinished done;
  done.epoch = epoch;
  done.mean_loss = epoch == 0 ? 1.25 : 0.25;
  done.mean_grad_norm = epoch == 0 ? 2.5 : 8;
  done.samples_per_second = 800;
  done.seconds = 5;
  return done;
}

inline Validated synthetic_validation(std::int64_t epoch) {
  Validated seen;
  seen.epoch = epoch;
  seen.data = "validation";
  seen.loss = epoch == 0 ? 0.5 : 0.625;
  seen.metrics = {{"accuracy", epoch == 0 ? 0.875 : 0.75}, {"top_5", 0.9375}};
  seen.seconds = 0.5;
  seen.averaged = true;
  seen.best = epoch == 0;
  return seen;
}

inline CheckpointSaved synthetic_checkpoint(std::int64_t step) {
  CheckpointSaved saved;
  saved.path = "checkpoints/checkpoint-" + std::to_string(step);
  saved.bytes = 3 << 20;
  saved.blocked_seconds = 0.002;
  saved.seconds = 0.25;
  saved.step = step;
  return saved;
}

/// All events of the run; without the last one, as of a run that was killed, where `finished` is false.
inline std::vector<Event> synthetic_run(bool finished = true) {
  std::vector<Event> events{event_after(0, 0, synthetic_start())};
  for (std::int64_t step = 1; step <= kSyntheticSteps; ++step) {
    const auto time = static_cast<double>(step);
    events.push_back(event_after(time, step, synthetic_step(step)));
    if (step == 7) {
      events.push_back(event_after(time, step, Message{Message::Level::warning, "the disk is nearly full"}));
    }
    if (step == 8) {
      events.push_back(event_after(time, step, synthetic_issue(step)));
    }
    if (step % kStepsPerEpoch == 0) {
      const std::int64_t epoch = step / kStepsPerEpoch - 1;
      events.push_back(event_after(time, step, synthetic_epoch(epoch)));
      events.push_back(event_after(time, step, synthetic_validation(epoch)));
      events.push_back(event_after(time, step, synthetic_checkpoint(step)));
    }
  }
  Validated test = synthetic_validation(1);
  test.data = "test";
  events.push_back(event_after(11, kSyntheticSteps, test));
  if (finished) {
    events.push_back(event_after(12, kSyntheticSteps, RunFinished{"finished", "all epochs are done"}));
  }
  return events;
}

}  // namespace gradwise
