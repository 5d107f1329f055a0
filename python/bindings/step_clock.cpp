#include "python/bindings/step_clock.h"

#include <algorithm>
#include <utility>

namespace gradwise::python {
namespace {

double seconds_of(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

void StepClock::forward_start(std::int64_t samples) {
  const Clock::time_point now = Clock::now();
  if (micro_batches_ == 0) {
    seconds_.data = seconds_of(now - step_began_.value_or(now));
    step_began_ = step_began_.value_or(now);
  }
  to_backward(now);
  ++micro_batches_;
  samples_ += samples;
  forward_began_ = now;
}

void StepClock::forward_end() {
  if (const Time began = std::exchange(forward_began_, std::nullopt)) {
    forward_ended_ = Clock::now();
    seconds_.forward += seconds_of(*forward_ended_ - *began);
  }
}

void StepClock::to_backward(Clock::time_point now) {
  if (const Time ended = std::exchange(forward_ended_, std::nullopt)) {
    seconds_.backward += seconds_of(now - *ended);
  }
}

void StepClock::update_end() {
  if (const Time began = std::exchange(update_began_, std::nullopt)) {
    seconds_.update += seconds_of(Clock::now() - *began);
  }
}

void StepClock::elsewhere() {
  if (micro_batches_ == 0) {
    step_began_ = Clock::now();
  }
}

void StepClock::take(StepInfo& step) {
  const Clock::time_point now = Clock::now();
  step.samples = std::exchange(samples_, 0);
  step.micro_batches = std::max<std::int64_t>(1, std::exchange(micro_batches_, 0));
  step.seconds = std::exchange(seconds_, {});
  step.seconds.total = seconds_of(now - step_began_.value_or(now));
  forward_began_ = forward_ended_ = update_began_ = std::nullopt;
  step_began_ = now;
}

}  // namespace gradwise::python
